"""What every pretraining method is: an encoder, one forward pass to named losses, and what its checkpoint must say.

Methods that also embed texts share their second half, CLIP's text tower, projection and temperature.
"""

from typing import Any, ClassVar, Literal

import torch
from mmengine.model import BaseModel
from torch import nn

from backbones import build_encoder, load_into
from backbones.text import TextTower
from pretrain.parts.losses import clamp_logit_scale, new_logit_scale


class PretrainMethod(BaseModel):
    """Base of the methods in `pretrain/methods/`.

    A method implements `losses(inputs)`; the entries of the returned dict whose names contain "loss" are summed and
    minimised, the others are only logged. Masks and dropout draw from torch's global generator, which the training loop
    seeds from (seed, iteration).

    Args:
        encoder: {"name": timm name, "kwargs": {...}}, given to `backbones.build_encoder`; with "start", a checkpoint
            folder, the encoder is filled from there before a method copies or freezes any of it.
        data_preprocessor: config of the preprocessor; ImageNet's mean and std unless given.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"image"})  # keys of `inputs` that the method learns from
    parent_role: ClassVar[Literal["start", "teacher"]] = "start"  # what a checkpoint given with the config is to it

    def __init__(self, encoder: dict[str, Any], data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor or {"type": "ImagePreprocessor"})
        self.encoder_cfg = {"name": encoder["name"], "kwargs": dict(encoder.get("kwargs", {}))}
        self.encoder = build_encoder(self.encoder_cfg["name"], self.encoder_cfg["kwargs"])
        self.start_ledger = load_into(self.encoder, encoder["start"]) if encoder.get("start") else None
        self.progress = 0.0

    def init_weights(self) -> None:
        """Do nothing: weights are drawn on construction.

        mmengine would call timm's own `init_weights` on the encoder once more, which overwrites fixed positions and
        parts a teacher from the student it was copied from.
        """

    def forward(self, inputs: dict[str, torch.Tensor], mode: Literal["loss"] = "loss") -> dict[str, torch.Tensor]:
        """Return the named losses of a batch that the preprocessor has prepared."""
        if mode != "loss":
            raise NotImplementedError(f"pretraining has no mode {mode!r}: load the exported encoder for features")
        return self.losses(inputs)

    def losses(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the named losses of a batch: image [B, 3, H, W], and tokens [B, T] or label [B] where used."""
        raise NotImplementedError

    def before_step(self, progress: float) -> None:
        """Take note of the share of training done, in [0, 1), before an iteration: schedules read `self.progress`."""
        self.progress = progress

    def after_step(self, progress: float) -> None:
        """Update what no gradient updates (a teacher, a clamp) after an optimizer step; progress in (0, 1]."""

    def frozen_now(self) -> list[torch.nn.Parameter]:
        """Parameters that the coming optimizer step leaves untouched, decay included (DINO's last layer at first)."""
        return []

    def text_state(self) -> dict[str, torch.Tensor] | None:
        """Tensors of the text tower and the projections for the checkpoint; None for methods without text."""
        return None

    def checkpoint_meta(self) -> dict[str, Any]:
        """The part of checkpoint.json that the model knows."""
        preprocessor = self.data_preprocessor
        return {
            "encoder": self.encoder_cfg,
            "image": {"mean": list(preprocessor.mean), "std": list(preprocessor.std)},
            "text": None,
        }


class ImageTextMethod(PretrainMethod):
    """Base of the methods that bring images and texts into one space, as CLIP does (Radford et al. 2021).

    Beside the encoder it holds `text`, `image_projection` from the encoder's pooled features [B, D] to the shared space
    [B, E], and `logit_scale`, the logarithm of the inverse temperature, which is clamped after every step. A method
    that overrides `after_step` calls this one's too.

    Args:
        encoder: see PretrainMethod.
        text: arguments of `backbones.text.TextTower`; its embed_dim is E, the width of the shared space.
        data_preprocessor: see PretrainMethod.
    """

    needs = frozenset({"image", "tokens"})

    def __init__(self, encoder: dict[str, Any], text: dict[str, Any], data_preprocessor: dict | None = None) -> None:
        super().__init__(encoder, data_preprocessor)
        self.text = TextTower(**text)
        width = self.encoder.num_features
        self.image_projection = nn.Linear(width, self.text.embed_dim, bias=False)
        nn.init.normal_(self.image_projection.weight, std=width**-0.5)
        self.logit_scale = new_logit_scale()

    def after_step(self, progress: float) -> None:
        """Clamp the temperature."""
        clamp_logit_scale(self.logit_scale)

    def text_state(self) -> dict[str, torch.Tensor]:
        """What zero-shot use needs beside the encoder: "text.*", "image_projection.weight" and "logit_scale"."""
        state = {f"text.{name}": value for name, value in self.text.state_dict().items()}
        state["image_projection.weight"] = self.image_projection.weight
        state["logit_scale"] = self.logit_scale
        return {name: value.detach().cpu().contiguous() for name, value in state.items()}

    def checkpoint_meta(self) -> dict[str, Any]:
        """With the text tower's arguments."""
        return {**super().checkpoint_meta(), "text": self.text.meta()}
