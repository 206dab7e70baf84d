"""Plain ViT as a four-level feature pyramid (BEiT's and CAE's segmentation and detection backbones)."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from mmcv.cnn import build_norm_layer
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.facts import check_pyramid
from backbones.layers import plain_layer_groups
from backbones.pyramid import EncoderPyramid, crop_to_input, pad_to_multiple
from backbones.relative_positions import At
from engine.errors import UserError


def default_taps(depth: int) -> tuple[int, ...]:
    """The four blocks that feed the maps: 3, 5, 7, 11 of 12 and 7, 11, 15, 23 of 24, as published; every quarter of
    a deeper encoder; of a shallower one the last block four times (ViTDet's simple feature pyramid, Li et al. 2022),
    whose early blocks know too little of the image to feed the finest map."""
    if depth in (12, 24):
        return (3, 5, 7, 11) if depth == 12 else (7, 11, 15, 23)
    return (depth - 1,) * 4 if depth < 12 else tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))


def default_levels(patch: int) -> tuple[Fraction, ...]:
    """Strides of the four maps in patches, each twice the one before: as near to 4, 8, 16, 32 pixels as powers of two
    bring them, beginning at a quarter of a patch at the finest. Patches of 14, 16 and 32: 1/4, 1/2, 1, 2, as published;
    of 8: 1/2, 1, 2, 4."""
    finest = max(Fraction(1, 4), Fraction(2) ** round(math.log2(4 / patch)))
    return tuple(finest * 2**step for step in range(4))


def rescale(width: int, level: Fraction, norm_cfg: dict[str, Any]) -> nn.Module:
    """Bring a map of stride one patch to `level` patches: deconvolutions (with norm and GELU between two) or pooling,
    which keeps an odd last row or column."""

    def up() -> nn.Module:
        return nn.ConvTranspose2d(width, width, 2, 2)

    if level == Fraction(1, 4):
        return nn.Sequential(up(), build_norm_layer(norm_cfg, width)[1], nn.GELU(), up())
    if level == Fraction(1, 2):
        return up()
    return nn.Identity() if level == 1 else nn.MaxPool2d(int(level), int(level), ceil_mode=True)


def block_groups(adapter: EncoderPyramid) -> tuple[dict[str, int], int]:
    """Layer-decay groups of an adapter of a plain ViT, as `EncoderPyramid.layer_ids` returns them.

    BEiT's (`plain_layer_groups`); what the adapter adds is in the last group, with the final norm.
    """
    inner, last = plain_layer_groups(adapter.encoder)
    groups = {f"encoder.{name}": group for name, group in inner.items()}
    return {name: groups.get(name, last) for name, _ in adapter.named_parameters()}, last


@MODELS.register_module()
class ViTPyramid(EncoderPyramid):
    """Taps of a plain ViT, brought to four strides by deconvolutions and pooling (`default_levels`, `rescale`).

    Channels stay those of the encoder. The class token is left out of the maps.

    Args:
        checkpoint: Checkpoint folder of a plain ViT.
        taps: Four 0-based blocks, none before the one before it; by default those of `default_taps`.
        pyramid: False leaves every map at the patch's stride, for heads that read the last block's map alone.
        drop_path_rate: Stochastic depth while fine-tuning.
        final_norm: Apply the encoder's final norm to every tap; the published recipes do not.
        norm_cfg: Norm between the two deconvolutions. BN works everywhere; on several GPUs with small batches use
            dict(type="SyncBN") or mmengine's `sync_bn="torch"` (papers use SyncBN), which CPUs cannot do in distributed
            runs.
        unshare: Give every block its own copy of a relative position bias table that all share (BEiT, FD), as their
            published fine-tuning does; False trains the one table on.
        relative_bias: (height, width) in pixels of the fine-tuning images: every block gets a relative position bias
            that starts from zero at their grid, beside the absolute positions (MAE's, dBOT's and CAE's segmentation;
            backbones/added_bias.py). None adds nothing.
        freeze_positions: Keep the absolute positions as pretraining left them (CAE's segmentation and detection).
        architecture: Of a plain ViT, instead of a checkpoint; see `EncoderPyramid`.

    Raises:
        UserError: as `load_encoder` and `add_relative_bias`; a hierarchical encoder; one of a single image size;
            taps or absolute positions that it does not have.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        taps: Sequence[int] | None = None,
        pyramid: bool = True,
        drop_path_rate: float = 0.0,
        final_norm: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        unshare: bool = True,
        relative_bias: tuple[int, int] | None = None,
        freeze_positions: bool = False,
        architecture: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(checkpoint, drop_path_rate, unshare, relative_bias, architecture)
        name = self.meta["encoder"]["name"]
        if not self.facts.plain:
            raise UserError(
                f"ViTPyramid: {name} in {checkpoint or 'architecture'} is no plain ViT; use HierarchicalPyramid"
            )
        check_pyramid(name, self.facts)
        depth, width, self.patch = self.facts.depth, self.facts.channels[0], self.facts.strides[0]
        self.taps = tuple(taps) if taps is not None else default_taps(depth)
        if len(self.taps) != 4 or list(self.taps) != sorted(t for t in self.taps if t in range(depth)):
            raise UserError(f"ViTPyramid: taps {self.taps} must be four blocks of 0..{depth - 1} of {name} in order")
        if final_norm and isinstance(getattr(self.encoder, "norm", nn.Identity()), nn.Identity):
            raise UserError(f"ViTPyramid: {name} has no final norm to apply to the taps; set final_norm=False")
        if freeze_positions and getattr(self.encoder, "pos_embed", None) is None:
            raise UserError(f"ViTPyramid: {name} has no absolute positions to freeze; set freeze_positions=False")
        if freeze_positions:
            self.encoder.pos_embed.requires_grad_(False)
        self.final_norm = final_norm
        self._prune(self.encoder)
        levels = default_levels(self.patch) if pyramid else (Fraction(1),) * 4
        self.strides = [self.patch * level for level in levels]
        self.out_strides = [int(s) if s.denominator == 1 else float(s) for s in self.strides]
        self.out_channels = [width] * 4
        self.rescale = nn.ModuleList(rescale(width, level, norm_cfg or {"type": "BN"}) for level in levels)

    def _prune(self, encoder: nn.Module) -> None:
        encoder.prune_intermediate_layers(sorted(set(self.taps)), prune_norm=not self.final_norm, prune_head=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map images [B, 3, H, W] of any size to four maps [B, d, ceil(H/s), ceil(W/s)], s in `out_strides`."""
        height, width = x.shape[-2:]
        blocks = sorted(set(self.taps))
        x = pad_to_multiple(x, self.facts.multiple)
        # timm hands its mask on to every block's attention, and the added bias needs to know the grid there.
        cells = tuple(side // self.patch for side in x.shape[-2:])
        grid = {} if self.relative_bias is None else {"attn_mask": At(cells, None)}
        found = self.encoder.forward_intermediates(
            x, indices=blocks, norm=self.final_norm, intermediates_only=True, **grid
        )  # one [B, d, ceil(H/p), ceil(W/p)] a block
        taps = dict(zip(blocks, found, strict=True))
        maps = [rescale(taps[block]) for rescale, block in zip(self.rescale, self.taps, strict=True)]
        return tuple(crop_to_input(m, height, width, stride) for m, stride in zip(maps, self.strides, strict=True))

    def layer_ids(self) -> tuple[dict[str, int], int]:
        """BEiT's groups, see `block_groups`."""
        return block_groups(self)
