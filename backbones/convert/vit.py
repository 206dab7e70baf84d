"""The plain ViT that MAE, DINO, DeiT, MoCo v3, MAWS and SLIP share: timm's keys, so sizes alone have to be found.

Heads leave no trace in the shapes and follow the published models of a width; LayerNorm's epsilon is 1e-6 in all of
them, as in timm's ViT. The table of positions is always the file's own, learned or fixed: the two sine-cosine tables in
use (MAE's: column first; MoCo v3's: row first) differ, and regenerating one is a way of getting it wrong.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import timm
from torch import Tensor

from backbones.convert import Converted
from engine.errors import UserError

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# Width -> timm's size, its depth and heads (Dosovitskiy et al. 2021, Touvron et al. 2021).
SIZES = {192: ("tiny", 12, 3), 384: ("small", 12, 6), 768: ("base", 12, 12), 1024: ("large", 24, 16),
         1280: ("huge", 32, 16)}  # fmt: skip
WIDER = {2560: 32, 4096: 32}  # width -> heads (MAWS, Singh et al. 2023)
BLOCK = r"blocks\.\d+\.(norm1|attn\.qkv|attn\.proj|norm2|mlp\.fc1|mlp\.fc2)\.(weight|bias)"
PLAIN = re.compile(rf"cls_token|pos_embed|patch_embed\.proj\.(weight|bias)|{BLOCK}|norm\.(weight|bias)")


def is_plain(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are exactly of the kinds of a plain ViT without a head."""
    return "pos_embed" in state and "cls_token" in state and all(PLAIN.fullmatch(key) for key in state)


def has_fixed_positions(state: Mapping[str, Tensor]) -> bool:
    """Whether the class token's position is zero, as in the sine-cosine tables of MAE: training would have moved it."""
    table = state.get("pos_embed")
    return table is not None and table.ndim == 3 and table.numel() > 0 and not table[:, 0].any()


def convert_plain(
    source: Mapping[str, Tensor],
    method: str,
    prefix: str = "",
    drop: Mapping[str, str] | None = None,
    heads: int | None = None,
    small_heads: int = 6,
) -> Converted:
    """Convert a plain ViT whose keys are timm's behind a prefix.

    Args:
        source: Key -> tensor of the file.
        method: Method id.
        prefix: Taken off the keys of the encoder. A key without it needs a rule in `drop`.
        drop: Regular expression that matches a whole key -> why the key is not used.
        heads: Number of heads, for a width that was not published.
        small_heads: Heads at width 384: 6 in DeiT and DINO, 12 in MoCo v3 and SLIP.

    Raises:
        UserError: a width without a published head count, positions that are no square grid.
        KeyError: a key that every ViT has is missing.
    """
    dropped = {}
    for key in source:
        reason = next((reason for rule, reason in (drop or {}).items() if re.fullmatch(rule, key)), None)
        if reason is not None:
            dropped[key] = reason
    kept = [key for key in source if key not in dropped and key.startswith(prefix)]
    state = {key.removeprefix(prefix): source[key] for key in kept}
    renamed = {key.removeprefix(prefix): key for key in kept}
    encoder, size = describe_vit(state, heads, small_heads)
    return Converted(encoder, state, renamed, {**IMAGENET, "size": size}, method, dropped)


def describe_vit(
    state: Mapping[str, Tensor], heads: int | None = None, small_heads: int = 6
) -> tuple[dict[str, Any], int]:
    """Read ({"name", "kwargs"}, image size in pixels) off the tensors [shapes] of a plain or distilled ViT.

    Only what differs from timm's model of that name becomes an argument. Errors as in `convert_plain`.
    """
    kernel, table, fc1 = state["patch_embed.proj.weight"], state["pos_embed"], state["blocks.0.mlp.fc1.weight"]
    if kernel.ndim != 4 or table.ndim != 3 or fc1.ndim != 2:
        raise UserError("patch_embed.proj.weight, pos_embed or blocks.0.mlp.fc1.weight has not the shape of a ViT's")
    width, patch = kernel.shape[0], kernel.shape[-1]
    published = {**WIDER, **{wide: size[2] for wide, size in SIZES.items()}, 384: small_heads}
    heads = heads or published.get(width)
    if heads is None:
        raise UserError(f"the encoder is {width} wide, which no published one is; state its heads by heads=N")
    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    cells = table.shape[1] - 1 - ("dist_token" in state)
    side = math.isqrt(max(cells, 0))
    if side * side != cells or not side:
        raise UserError(f"pos_embed has {table.shape[1]} entries, which is no square grid and its extra tokens")
    size, usual_depth, usual_heads = SIZES.get(width, ("base", None, None))
    name, kwargs = f"vit_{size}_patch{patch}_224", {}
    if "dist_token" in state:
        name = f"deit_{size}_distilled_patch{patch}_224"
    if not timm.is_model(name):
        name, kwargs = f"vit_{size}_patch16_224", {"patch_size": patch}
    stated = {  # argument -> what the tensors say, what timm's model of that name has
        "embed_dim": (width, width if width in SIZES else None),
        "img_size": (side * patch, 224),
        "depth": (depth, usual_depth),
        "num_heads": (heads, usual_heads),
        "mlp_ratio": (fc1.shape[0] / width, 4),
        "global_pool": ("avg" if "fc_norm.weight" in state else "token", "token"),  # fine-tuned on the mean of tokens
    }
    kwargs |= {argument: found for argument, (found, usual) in stated.items() if found != usual}
    return {"name": name, "kwargs": kwargs}, side * patch
