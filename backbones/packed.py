"""Rows of tokens without their padding: what treats each token on its own skips it, attention alone puts it back.

A batch of captions is as wide as its longest one, so that at a median of 20 tokens and a context of 77 most places hold
nothing. A loader that knows the lengths on the host gives the places that hold a token (`valid_tokens` of a batch);
their number is the shape of a tensor, and the device is never asked for it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor


class Packing(NamedTuple):
    """S rows of T places of which R hold a token: `places` [R], ascending, each s * T + t."""

    rows: int
    width: int
    places: Tensor

    def numbers(self) -> Tensor:
        """For each of the S * T places its token's number among the R; 0 where there is none."""
        count = torch.arange(len(self.places), device=self.places.device)
        return count.new_zeros(self.rows * self.width).index_copy(0, self.places, count)

    def spread(self, x: Tensor) -> Tensor:
        """Tokens [R, D] at their places [S, T, D], zeros elsewhere."""
        empty = x.new_zeros(self.rows * self.width, x.shape[-1])
        return empty.index_copy(0, self.places, x).view(self.rows, self.width, -1)


def run_packed(
    blocks: Sequence[Block], x: Tensor, packing: Packing, causal: bool, wanted: Tensor | None = None
) -> Tensor:
    """Tokens [R, D] through pre-norm blocks that have neither layer scale nor stochastic depth.

    Args:
        causal: whether a token attends only to those before it in its row; else to all tokens of the row.
        wanted: numbers [L] of the tokens whose outputs are asked for; the last block computes no others. All if None.

    Returns:
        [R, D], or [L, D]; the numbers that the blocks give for rows with padding, but for rounding.
    """
    mask = None
    if not causal:
        held = torch.zeros(packing.rows * packing.width, dtype=torch.bool, device=x.device)
        mask = held.index_fill(0, packing.places, True).view(packing.rows, 1, 1, packing.width)
    for number, block in enumerate(blocks, start=1):
        mixed = attend(block.attn, block.norm1(x), packing, mask, causal)
        if wanted is not None and number == len(blocks):
            x, mixed, wanted = x.index_select(0, wanted), mixed.index_select(0, wanted), None
        x = x + block.attn.proj(mixed)
        x = x + block.mlp(block.norm2(x))
    return x if wanted is None else x.index_select(0, wanted)


def attend(attention: Attention, x: Tensor, packing: Packing, mask: Tensor | None, causal: bool) -> Tensor:
    """Normed tokens [R, D] -> the heads' mixtures [R, D], before the projection."""
    qkv = packing.spread(attention.qkv(x)).unflatten(-1, (3, attention.num_heads, attention.head_dim))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [3, S, H, T, d]
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, packing.places)
