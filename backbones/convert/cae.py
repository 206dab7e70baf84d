"""CAE (Atten4Vis/CAE, and its first release lxtGH/CAE): pretrained files of either.

The encoder is what *starts* with `encoder.`: `alignment_encoder.*` (first release: `teacher.*`), its copy for the
alignment target, has that string within its name. Regressor and decoder are `regresser.*` and `decoder.*` (first
release: `pretext_neck.*`). Inside it is a plain ViT with LayerScale `gamma_1`, `gamma_2`, and a bias of queries and
values alone, so timm's three-part bias gets zeros for the keys. Positions are a fixed sin-cos table, which is taken
from the file. LayerNorm's epsilon is 1e-6, as in timm's ViT.
"""

import math
from collections.abc import Mapping

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from backbones.convert import PLUS, Converted
from backbones.convert.beit import sizes, sort_keys
from engine.errors import UserError

# Width -> timm name and heads, which no shape tells: CAE gives its small models 12 heads too.
PUBLISHED = {
    192: ("vit_tiny_patch16_224", 12),
    384: ("vit_small_patch16_224", 12),
    768: ("vit_base_patch16_224", 12),
    1024: ("vit_large_patch16_224", 16),
}
COPY = "the encoder's copy for the alignment target"
PRETRAINING = "predicts masked patches in pretraining only"
DROP = {
    r"(alignment_encoder|teacher)\..*": COPY,
    r"(regresser|decoder|pretext_neck)\..*": PRETRAINING,
    r"encoder_to_(regresser|decoder)(_norm)?\..*": PRETRAINING,
    r"mask_token|rd_pos_embed": PRETRAINING,
}
RENAME = {"gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}  # CAE's LayerScale -> timm's


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the keys of CAE: an encoder, its copy and a regressor, by the names of either release."""
    heads = {key.split(".")[0] for key in state}
    return {"encoder", "alignment_encoder", "regresser"} <= heads or {"encoder", "teacher", "pretext_neck"} <= heads


def convert(state: Mapping[str, Tensor], heads: int | None = None) -> Converted:
    """Convert CAE's keys. UserError for a width without a published head count, KeyError for a missing key.

    Args:
        state: The file.
        heads: Attention heads; None: as published for the file's width.
    """
    names, dropped = sort_keys(state, "encoder.", DROP)
    return cae_encoder(state, names, dropped, PUBLISHED, heads)


def cae_encoder(
    state: Mapping[str, Tensor],
    names: Mapping[str, str],
    dropped: dict[str, str],
    published: Mapping[int, tuple[str, int]],
    heads: int | None,
) -> Converted:
    """Fill timm's plain ViT from CAE's encoder.

    Args:
        state: The file.
        names: CAE's name within its encoder -> source key.
        dropped: Source key -> reason.
        published: Width -> (timm name, heads).
        heads: Attention heads; None: those of `published`.

    Raises:
        UserError: a width that is not in `published` while `heads` is None, or positions of no square grid.
    """
    kwargs, size = sizes(state, names, position_side(state[names["pos_embed"]]))
    width = kwargs["embed_dim"]
    if heads is None and width not in published:
        known = ", ".join(map(str, published))
        raise UserError(
            f"CAE was published in this layout with width {known}, and no shape tells how many heads one of width "
            f"{width} has; state it with --options heads=12 or what it was trained with"
        )
    name, usual = published.get(width, PUBLISHED[768])
    kwargs["num_heads"] = usual if heads is None else heads
    filled, renamed = {}, {}
    for cae, key in names.items():
        stem, _, last = cae.rpartition(".")
        if last in ("q_bias", "v_bias"):
            continue
        target = f"{stem}.{RENAME[last]}" if last in RENAME else cae
        filled[target], renamed[target] = state[key], key
    for block in range(kwargs["depth"]):
        target = f"blocks.{block}.attn.qkv.bias"
        query, value = (names[f"blocks.{block}.attn.{part}_bias"] for part in "qv")
        filled[target] = torch.cat([state[query], torch.zeros_like(state[query]), state[value]])
        renamed[target] = f"{query}{PLUS}{value}"
    image = {"mean": list(IMAGENET_DEFAULT_MEAN), "std": list(IMAGENET_DEFAULT_STD), "size": size}
    return Converted({"name": name, "kwargs": kwargs}, filled, renamed, image, "cae", dropped)


def position_side(positions: Tensor) -> int:
    """Patches per side of the square grid of positions [1, 1 + side^2, d], class first. UserError if it is none."""
    side = math.isqrt(positions.shape[1] - 1)
    if side * side + 1 != positions.shape[1]:
        raise UserError(
            f"pos_embed of shape {tuple(positions.shape)} is no square grid behind a class entry; use a published file"
        )
    return side
