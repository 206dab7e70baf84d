"""Relative position bias that starts from zero, beside the absolute positions that a plain ViT was pretrained with.

MAE's, dBOT's and CAE's segmentation code gives every block such a table while it fine-tunes (implus/mae_segmentation,
liuxingbin/dbot, Atten4Vis/CAE). Being zero it leaves the encoder's function as it was until training moves it. A table
belongs to the grid of the fine-tuning images; inputs of another size resize it by the policy of relative_positions.py.
"""

import dataclasses
from math import ceil

import torch
from timm.layers import Attention
from torch import Tensor, nn

from backbones.ledger import Ledger
from backbones.relative_positions import TABLE, At, Grid, relative_bias, resize_table
from engine.errors import UserError

REASON = "relative position bias from zero, for fine-tuning"


class BiasedAttention(Attention):
    """timm's attention of a ViT, with a table of its own; `add_relative_bias` makes it of a built one.

    Attributes:
        relative_position_bias_table: [(2 rows - 1) * (2 columns - 1) + 3, heads], as in relative_positions.py.
        table_grid: (rows, columns) of the table.
        has_class: Whether a class token stands before the patches; without one the last three rows have no effect.
    """

    table_grid: Grid
    has_class: bool

    def forward(self, x: Tensor, attn_mask: At, is_causal: bool = False) -> Tensor:
        """Tokens [B, N, d] to the same shape; `attn_mask` brings the grid of this input, and no mask."""
        table = resize_table(self.relative_position_bias_table, attn_mask.grid, self.table_grid)
        bias = relative_bias(table, attn_mask.grid)  # [heads, 1 + N, 1 + N]
        return super().forward(x, attn_mask=bias[None] if self.has_class else bias[None, :, 1:, 1:])


def add_relative_bias(encoder: nn.Module, ledger: Ledger, size: tuple[int, int]) -> Ledger:
    """Give every block of a plain ViT with absolute positions a table of zeros, in place.

    Args:
        encoder: timm ViT, hierarchical encoders and those with relative positions excepted.
        ledger: How its weights were loaded.
        size: (height, width) in pixels of the images it fine-tunes on: the tables have an entry for each offset there.

    Returns:
        The ledger with the tables as new.

    Raises:
        UserError: an encoder whose attention takes no added bias, or with further tokens beside a class token.
    """
    blocks = list(getattr(encoder, "blocks", ()))
    if (
        not blocks
        or not hasattr(encoder, "patch_embed")
        or any(type(getattr(block, "attn", None)) is not Attention for block in blocks)
    ):
        raise UserError(
            f"relative_bias: {type(encoder).__name__} is no ViT with absolute positions alone, so there is nothing to "
            "add a relative bias to; set model.backbone.relative_bias=None"
        )
    if encoder.num_prefix_tokens > 1:
        raise UserError(
            f"relative_bias: this encoder has {encoder.num_prefix_tokens} tokens beside the patches, and a table knows "
            "one class token at most; set model.backbone.relative_bias=None"
        )
    patches = encoder.patch_embed.patch_size
    rows, columns = grid = tuple(ceil(side / patch) for side, patch in zip(size, patches, strict=True))
    entries = (2 * rows - 1) * (2 * columns - 1) + 3
    for attention in (block.attn for block in blocks):
        weight = attention.qkv.weight
        zeros = torch.zeros(entries, attention.num_heads, dtype=weight.dtype, device=weight.device)
        attention.__class__ = BiasedAttention
        attention.relative_position_bias_table = nn.Parameter(zeros)
        attention.table_grid, attention.has_class = grid, encoder.num_prefix_tokens == 1
    tables = [f"blocks.{k}.attn.{TABLE}" for k in range(len(blocks))]
    return dataclasses.replace(ledger, new={**ledger.new, **dict.fromkeys(tables, REASON)})
