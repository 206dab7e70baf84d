"""A timm ViT driven by its tokens: embedded apart, some of them dropped, and fixed positions."""

from typing import Literal

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from engine.errors import UserError
from pretrain.parts.masking import take


def require_droppable(encoder: nn.Module, name: str) -> None:
    """Raise UserError unless the encoder is a plain ViT, whose tokens can be dropped one by one."""
    if type(encoder) is not VisionTransformer:  # subclasses may embed tokens in a way of their own
        raise UserError(
            f"encoder {name!r} cannot drop tokens, which this method needs: choose a plain ViT of timm's, such as "
            "vit_tiny_patch16_224, vit_small_patch16_224, vit_base_patch16_224 or vit_large_patch16_224"
        )


def embed_tokens(encoder: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor]:
    """Images [B, 3, H, W] -> prefix tokens [B, P, D] and patch tokens [B, N, D], positions added.

    The same numbers as timm's own embedding, but prefix and patches apart, so that patches can be dropped.
    """
    x = encoder.patch_embed(images)
    if x.ndim == 4:  # dynamic_img_size keeps [B, h, w, D]
        grid = x.shape[1:3]
        x = x.flatten(1, 2)
    else:
        grid = encoder.patch_embed.grid_size
    prefix = [token for token in (encoder.cls_token, encoder.reg_token) if token is not None]
    prefix = torch.cat(prefix, dim=1) if prefix else x.new_zeros(1, 0, x.shape[-1])
    if encoder.pos_embed is not None:
        own = 0 if encoder.no_embed_class else encoder.num_prefix_tokens
        positions = resample_abs_pos_embed(
            encoder.pos_embed, new_size=list(grid), old_size=list(encoder.patch_embed.grid_size), num_prefix_tokens=own
        )
        x = x + positions[:, own:]
        if own:
            prefix = prefix + positions[:, :own]
    return prefix.expand(len(x), -1, -1), x


def run_blocks(encoder: VisionTransformer, prefix: Tensor, patches: Tensor) -> Tensor:
    """Prefix [B, P, D] and any patches [B, K, D] -> the encoder's final tokens [B, P + K, D], normed."""
    x = encoder.norm_pre(encoder.pos_drop(torch.cat([prefix, patches], dim=1)))
    return encoder.norm(encoder.blocks(x))


def encode_visible(encoder: VisionTransformer, images: Tensor, keep: Tensor) -> Tensor:
    """Final tokens [B, P + V, D] of an encoder that sees only the patches at `keep` [B, V] of images [B, 3, H, W]."""
    prefix, patches = embed_tokens(encoder, images)
    return run_blocks(encoder, prefix, take(patches, keep))


def run_block_at(block: Block, x: Tensor, places: Tensor) -> Tensor:
    """Tokens [B, N, D] through a pre-norm block of which only the outputs at places [B, M] are asked for -> [B, M, D].

    What the whole block gives there: every token is a key and a value, and those at `places` alone have a query, a
    projection and an MLP. The block has neither layer scale nor stochastic depth.
    """
    attention = block.attn
    q, k, v = attention.qkv(block.norm1(x)).chunk(3, dim=-1)  # [B, N, D] each
    q, k, v = (t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in (take(q, places), k, v))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # [B, M, D]
    x = take(x, places) + attention.proj(mixed)
    return x + block.mlp(block.norm2(x))


def sincos_positions(width: int, grid: tuple[int, int], first: Literal["column", "row"] = "column") -> Tensor:
    """Fixed 2-D sine-cosine positions [1, h * w, width]: half of the width for columns, half for rows.

    `first` is the axis of the first half: the column in MAE, the row in CAE and MoCo v3.

    Each half is [sin(t * w_k), cos(t * w_k)] with w_k = 10000^(-k / (width / 4)), for t in pixels of the grid.
    """
    if width % 4:
        raise UserError(f"sine-cosine positions need a width that is a multiple of 4, not {width}")
    frequency = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    rows, columns = torch.meshgrid(
        torch.arange(grid[0], dtype=torch.float64), torch.arange(grid[1], dtype=torch.float64), indexing="ij"
    )
    parts = []
    for coordinate in (columns, rows) if first == "column" else (rows, columns):
        angle = coordinate.reshape(-1, 1) * frequency  # [h * w, width / 4]
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, dim=1).float().unsqueeze(0)


def fix_positions(encoder: nn.Module, first: Literal["column", "row"] = "column") -> None:
    """Set a ViT's positions to sine-cosine, zero for CLS, and keep them there."""
    positions, (h, w) = encoder.pos_embed, encoder.patch_embed.grid_size
    positions.requires_grad_(False).zero_()
    positions[:, positions.shape[1] - h * w :] = sincos_positions(encoder.embed_dim, (h, w), first)
