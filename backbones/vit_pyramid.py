"""Plain ViT as a four-level feature pyramid (BEiT's and CAE's segmentation and detection backbones)."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from mmcv.cnn import build_norm_layer
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.pyramid import EncoderPyramid, crop_to_input, pad_to_multiple
from engine.errors import UserError

LEVELS = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))  # stride of each map in patches
GROUP_0 = ("patch_embed.", "cls_token", "reg_token", "dist_token", "pos_embed", "norm_pre.")


def default_taps(depth: int) -> tuple[int, ...]:
    """Four blocks, evenly spaced and ending at the last: 3, 5, 7, 11 of 12 (as published), 7, 11, 15, 23 of 24, or
    every quarter of any other depth."""
    if depth in (12, 24):
        return (3, 5, 7, 11) if depth == 12 else (7, 11, 15, 23)
    return tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))


@MODELS.register_module()
class ViTPyramid(EncoderPyramid):
    """Taps of a plain ViT, brought to strides p/4, p/2, p and 2p of its patch p by deconvolutions and pooling.

    Finest: ConvTranspose 2x2 - norm - GELU - ConvTranspose 2x2; then ConvTranspose 2x2; identity; MaxPool 2x2, which
    keeps an odd last row or column. Channels stay those of the encoder. The class token is left out of the maps.

    Args:
        checkpoint: Checkpoint folder of a plain ViT.
        taps: Four ascending 0-based blocks; by default those of `default_taps`.
        drop_path_rate: Stochastic depth while fine-tuning.
        final_norm: Apply the encoder's final norm to every tap (CAE's segmentation does, BEiT's does not).
        norm_cfg: Norm between the two deconvolutions. BN works everywhere; on several GPUs with small batches use
            dict(type="SyncBN") or mmengine's `sync_bn="torch"` (papers use SyncBN), which CPUs cannot do in distributed
            runs.

    Raises:
        UserError: as `load_encoder`; a hierarchical encoder; one of fixed input size; taps that it does not have.
    """

    def __init__(
        self,
        checkpoint: str,
        taps: Sequence[int] | None = None,
        drop_path_rate: float = 0.0,
        final_norm: bool = False,
        norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(checkpoint, drop_path_rate)
        name = self.meta["encoder"]["name"]
        if not self.facts.plain:
            raise UserError(f"ViTPyramid: {name} in {checkpoint} is no plain ViT; use HierarchicalPyramid")
        if getattr(self.encoder.patch_embed, "strict_img_size", False):
            raise UserError(f"ViTPyramid: {name} takes images of one size only; choose an encoder that takes any size")
        depth, width, self.patch = self.facts.depth, self.facts.channels[0], self.facts.strides[0]
        self.taps = tuple(taps) if taps is not None else default_taps(depth)
        if len(self.taps) != 4 or list(self.taps) != sorted(set(self.taps) & set(range(depth))):
            raise UserError(f"ViTPyramid: taps {self.taps} must be four ascending blocks of 0..{depth - 1} of {name}")
        if final_norm and isinstance(self.encoder.norm, nn.Identity):
            raise UserError(f"ViTPyramid: {name} has no final norm to apply to the taps; set final_norm=False")
        self.final_norm = final_norm
        self._prune(self.encoder)
        self.strides = [self.patch * level for level in LEVELS]
        self.out_strides = [int(s) if s.denominator == 1 else float(s) for s in self.strides]
        self.out_channels = [width] * 4
        self.to_finest = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, 2),
            build_norm_layer(norm_cfg or {"type": "BN"}, width)[1],
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, 2),
        )
        self.to_fine = nn.ConvTranspose2d(width, width, 2, 2)
        self.to_coarse = nn.MaxPool2d(2, 2, ceil_mode=True)

    def _prune(self, encoder: nn.Module) -> None:
        encoder.prune_intermediate_layers(list(self.taps), prune_norm=not self.final_norm, prune_head=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map images [B, 3, H, W] of any size to four maps [B, d, ceil(H/s), ceil(W/s)], s in `out_strides`."""
        height, width = x.shape[-2:]
        taps = self.encoder.forward_intermediates(
            pad_to_multiple(x, self.patch), indices=list(self.taps), norm=self.final_norm, intermediates_only=True
        )  # 4 x [B, d, ceil(H/p), ceil(W/p)]
        maps = (self.to_finest(taps[0]), self.to_fine(taps[1]), taps[2], self.to_coarse(taps[3]))
        return tuple(crop_to_input(m, height, width, stride) for m, stride in zip(maps, self.strides, strict=True))

    def layer_ids(self) -> tuple[dict[str, int], int]:
        """BEiT's groups: 0 patch embedding, tokens and positions; 1..L blocks; L+1 final norm and deconvolutions."""
        last = len(self.encoder.blocks) + 1
        ids = {}
        for name, _ in self.named_parameters():
            inner = name.removeprefix("encoder.")
            if name == inner:
                ids[name] = last
            elif inner.startswith("blocks."):
                ids[name] = int(inner.split(".")[1]) + 1
            else:
                ids[name] = 0 if inner.startswith(GROUP_0) else last
        return ids, last
