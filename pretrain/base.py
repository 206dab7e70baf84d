"""What every pretraining method is: an encoder, one forward pass to named losses, and what its checkpoint must say."""

from typing import Any, ClassVar, Literal

import torch
from mmengine.model import BaseModel

from backbones import build_encoder, fill_encoder


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
        self.start_ledger = fill_encoder(self.encoder, encoder["start"]) if encoder.get("start") else None
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
