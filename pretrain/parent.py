"""The parent of a second stage: the checkpoint that a method starts from, or learns from as its frozen teacher."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from safetensors.torch import load_file
from torch import Tensor, nn

from backbones import checkpoint_exists, load_encoder, missing_checkpoint_message, read_checkpoint
from backbones.checkpoint import ENCODER
from engine.config import config_hash
from engine.errors import UserError
from pretrain.base import PretrainMethod
from pretrain.from_data import method_class

RECORDED = ("method", "captions", "seed", "scale", "samples_seen", "config_hash", "parent")


def fill_parent(cfg: Config) -> None:
    """Put the parent's checkpoint into the model's configuration and what it is into `cfg.parent_meta`.

    The method decides by its `parent_role`: a "start" fills the encoder before anything is copied from it, and its
    image constants are taken; a "teacher" is given as `model.teacher`. `parent_meta` becomes the checkpoint's `parent`
    and counts for the configuration's hash, so a run can only be resumed under the parent it began with. Nothing
    happens where the configuration names no checkpoint.

    Raises:
        UserError: a missing or damaged checkpoint, one of another method at the parent's own place, a method that needs
            a teacher and got none, image constants that are not those of the start.
    """
    role = method_class(cfg.model.type).parent_role
    folder = cfg.get("checkpoint")
    if folder is None:
        if role == "teacher":
            raise UserError(f"{cfg.method} needs a teacher: name a method as `parent`, or a folder with --checkpoint")
        return
    if not checkpoint_exists(folder):
        raise UserError(missing_checkpoint_message(folder, cfg.get("parent"), cfg.scale, cfg.seed))
    meta = read_checkpoint(folder)
    if cfg.checkpoint_of_method and meta["method"] != cfg.parent:
        raise UserError(
            f"{folder} holds a {meta['method']} encoder, but the parent of {cfg.method} is {cfg.parent}: name another "
            "folder with --checkpoint"
        )
    cfg.parent_meta = {
        **{key: meta[key] for key in RECORDED},
        "sha256": meta["sha256"][ENCODER],
        "wall_s": meta["cost"]["wall_s"],
        "role": role,
    }
    if role == "teacher":
        cfg.model.teacher = folder
    else:
        cfg.model.encoder.start = folder
        fill_image_constants(cfg, folder, meta)
    cfg.config_hash = config_hash(cfg)


def fill_image_constants(cfg: Config, folder: str, meta: dict[str, Any]) -> None:
    """Give the preprocessor the mean and std that the start was trained with; refuse others."""
    preprocessor = cfg.model.data_preprocessor
    for key in ("mean", "std"):
        stated = preprocessor.setdefault(key, meta["image"][key])
        if list(stated) != list(meta["image"][key]):
            raise UserError(
                f"model.data_preprocessor.{key} is {list(stated)}, but {folder} was trained with {meta['image'][key]}: "
                "leave it out to take the checkpoint's"
            )


def check_start(model: PretrainMethod, folder: str | Path) -> None:
    """Raise UserError if the method, once built, has changed what its encoder started from (MAE draws all anew)."""
    stored, state = load_file(Path(folder) / ENCODER), model.encoder.state_dict()
    changed = [key for key in model.start_ledger.loaded if not torch.equal(stored[key], state[key].cpu())]
    if changed:
        raise UserError(
            f"{type(model).__name__} sets {len(changed)} tensors of its encoder itself, first {changed[0]}: it cannot "
            f"start from {folder}; leave out --checkpoint"
        )


class FrozenTeacher:
    """The encoder of a checkpoint, in evaluation mode and without gradients, for images of another normalisation.

    No module on purpose: its weights are the checkpoint's, so they belong neither to the student's state nor to its
    parameters. It follows its input to the device.

    Args:
        folder: checkpoint folder.
        mean, std: those by which the images it gets are normalised.

    Attributes:
        encoder: the timm encoder; meta: its checkpoint.json.
    """

    def __init__(self, folder: str | Path, mean: list[float], std: list[float]) -> None:
        encoder, self.meta, _ = load_encoder(folder)
        self.encoder: nn.Module = encoder.eval().requires_grad_(False)
        own_mean, own_std, mean, std = (
            torch.tensor(values).view(1, 3, 1, 1)
            for values in (self.meta["image"]["mean"], self.meta["image"]["std"], mean, std)
        )
        # (x * std + mean - own_mean) / own_std = x * scale + shift
        self.scale, self.shift = std / own_std, (mean - own_mean) / own_std

    @torch.no_grad()
    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] as the student sees them -> the encoder's tokens [B, P + N, D] after its final norm."""
        if self.scale.device != images.device:  # once: a comparison of names, not of values
            self.encoder = self.encoder.to(images.device)
            self.scale, self.shift = self.scale.to(images.device), self.shift.to(images.device)
        return self.encoder.forward_features(torch.addcmul(self.shift, images, self.scale))
