"""The ceiling: an encoder pretrained with the dense labels of the pretraining split. A reference, not a competitor.

Semantic classes, depth and object centres, so that it bounds segmentation, depth and detection alike.
"""

from typing import Any

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from pretrain.base import PretrainMethod
from pretrain.parts.visible_tokens import require_droppable


@MODELS.register_module()
class Oracle(PretrainMethod):
    """Dense supervision by one hidden layer on the encoder's final patch tokens.

    Each token predicts a small grid of cells: class scores, log depth, and the offset to the centre of the object that
    covers the cell, in units of the image's side.

    Args:
        encoder: see PretrainMethod; a plain ViT.
        num_classes: semantic classes.
        stride: pixels per cell.
        hidden: width of the hidden layer.
        weights: of the class, depth and offset terms.
    """

    needs = frozenset({"image", "seg", "depth"})

    def __init__(
        self,
        encoder: dict[str, Any],
        num_classes: int,
        stride: int = 2,
        hidden: int = 192,
        weights: tuple[float, float, float] = (1.0, 1.0, 5.0),
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, data_preprocessor)
        require_droppable(self.encoder, self.encoder_cfg["name"])
        self.num_classes, self.stride, self.weights = num_classes, stride, tuple(weights)
        self.side = self.encoder.patch_embed.patch_size[0] // stride  # cells per side of a patch
        outputs = self.side**2 * (num_classes + 3)
        self.decoder = nn.Sequential(nn.Linear(self.encoder.embed_dim, hidden), nn.GELU(), nn.Linear(hidden, outputs))

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W], seg [B, H, W], depth [B, H, W] in metres, offset [B, 2, H, W], thing [B, H, W]."""
        maps = self.dense(inputs["image"])  # [B, C + 3, h, w]
        # Each cell is scored at its first pixel.
        seg, depth, thing = (inputs[k][:, :: self.stride, :: self.stride] for k in ("seg", "depth", "thing"))
        offset = inputs["offset"][:, :, :: self.stride, :: self.stride]
        scores, log_depth, centre = maps.float().split([self.num_classes, 1, 2], dim=1)
        known = depth > 0
        error_depth = (log_depth[:, 0] - depth.clamp(min=1e-3).log()).abs() * known
        error_offset = (centre - offset).abs().sum(dim=1) * thing
        by_class, by_depth, by_offset = self.weights
        return {
            "loss_class": by_class * F.cross_entropy(scores, seg.long()),
            "loss_depth": by_depth * error_depth.sum() / known.sum().clamp(min=1),
            "loss_offset": by_offset * error_offset.sum() / thing.sum().clamp(min=1),
        }

    def dense(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> maps [B, C + 3, H / stride, W / stride]."""
        tokens = self.encoder.forward_features(images)[:, self.encoder.num_prefix_tokens :]  # [B, N, D]
        h, w = self.encoder.patch_embed.dynamic_feat_size(images.shape[-2:])
        out = self.decoder(tokens).transpose(1, 2).unflatten(2, (h, w))  # [B, (C + 3) * side^2, h, w]
        return F.pixel_shuffle(out, self.side)
