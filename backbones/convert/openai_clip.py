"""OpenAI's CLIP with a ViT: a TorchScript archive in half precision.

Its image tower is timm's `vit_*_clip_quickgelu_*`: patches without bias, a norm before the blocks, QuickGELU, and
1e-5 in all norms. Source: openai/CLIP clip/model.py.
"""

import math
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.data import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from torch import Tensor

from backbones.convert import Converted
from backbones.convert.keys import Keys
from backbones.convert.openai_text import block_names, text_tower
from engine.errors import UserError

NUMBERS = ("input_resolution", "context_length", "vocab_size")
HEADS = {384: 6, 512: 8, 640: 10, 768: 12, 896: 14, 1024: 16, 1280: 16, 1408: 16, 1664: 16}  # published widths
# (width, depth, patch) -> timm's name before and after "_quickgelu".
NAMES = {
    (768, 12, 32): ("vit_base_patch32_clip", "_224"),
    (768, 12, 16): ("vit_base_patch16_clip", "_224"),
    (1024, 24, 14): ("vit_large_patch14_clip", "_224"),
    (1280, 32, 14): ("vit_huge_patch14_clip", "_224"),
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """OpenAI's names, with the three numbers that only its archives hold."""
    return "visual.conv1.weight" in state and all(name in state for name in NUMBERS)


def convert(state: Mapping[str, Tensor], heads: int | None = None, text_heads: int | None = None) -> Converted:
    """Both towers. `heads` and `text_heads` are needed only for widths that were not published."""
    keys = Keys(state)
    for name in NUMBERS:
        keys.drop(name, "a number that the shapes tell as well")
    return convert_vit(keys, quick_gelu=True, heads=heads, text_heads=text_heads)


def convert_vit(
    keys: Keys,
    quick_gelu: bool,
    heads: int | None = None,
    text_heads: int | None = None,
    causal: bool = True,
    text_prefix: str = "",
) -> Converted:
    """Both towers from OpenAI's names.

    Args:
        keys: Book of the file's keys; what it has beyond the two towers is left to the caller.
        quick_gelu: Whether both towers use x sigmoid(1.702 x) for GELU.
        heads, text_heads: Attention heads, where the width does not tell them.
        causal, text_prefix: of the text tower, see `text_tower`.

    Raises:
        UserError: an image tower that is no ViT with a class token, or a width whose heads are not known.
    """
    encoder, state, size = _vision_tower(keys, quick_gelu, heads)
    act = "quick_gelu" if quick_gelu else "gelu"
    text, text_state = text_tower(keys, act, text_heads, causal, text_prefix)
    weight = "image_projection.weight"
    if text is None:
        keys.drop("visual.proj", "leads to the shared space of a text tower that is not kept")
        keys.drop("logit_scale", "the temperature of a text tower that is not kept")
    else:
        text_state[weight] = keys.take("visual.proj", weight, torch.t)
        text_state["logit_scale"] = keys.take("logit_scale", "logit_scale", lambda scale: scale.reshape(()))
    image = {"mean": list(OPENAI_CLIP_MEAN), "std": list(OPENAI_CLIP_STD), "size": size}
    return Converted(
        encoder, state, keys.renamed, image, "clip",
        dropped=keys.dropped, new=keys.new, text=text, text_state=text_state if text else None,
    )  # fmt: skip


def _vision_tower(keys: Keys, quick_gelu: bool, heads: int | None) -> tuple[dict[str, Any], dict[str, Tensor], int]:
    """(encoder, timm keys -> tensors, pixels per side)."""
    if keys.named(r"visual\.layer1\."):
        raise UserError("the image tower is OpenAI's modified ResNet, which is not converted; take a ViT or timm tower")
    width, _, patch, _ = keys["visual.conv1.weight"].shape
    depth = len(keys.named(r"visual\.transformer\.resblocks\.\d+\.ln_1\.weight$"))
    grid = math.isqrt(len(keys["visual.positional_embedding"]) - 1)
    heads = heads or HEADS.get(width)
    if heads is None:
        raise UserError(f"the image tower is {width} wide, which no published one is; state its heads by heads=N")
    names = block_names(depth, "visual.transformer.resblocks.", "blocks.")
    for part in ("weight", "bias"):
        names |= {f"visual.ln_pre.{part}": f"norm_pre.{part}", f"visual.ln_post.{part}": f"norm.{part}"}
    names["visual.conv1.weight"] = "patch_embed.proj.weight"
    state = {target: keys.take(name, target) for name, target in names.items()}
    state["cls_token"] = keys.take("visual.class_embedding", "cls_token", lambda token: token.reshape(1, 1, -1))
    state["pos_embed"] = keys.take("visual.positional_embedding", "pos_embed", lambda table: table.unsqueeze(0))
    hidden = keys["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
    kwargs: dict[str, Any] = {"img_size": grid * patch}
    stem, size = NAMES.get((width, depth, patch), NAMES[768, 12, 16])
    if (width, depth, patch) not in NAMES or heads != HEADS[width]:
        kwargs |= {"patch_size": patch, "embed_dim": width, "depth": depth, "num_heads": heads}
    if hidden != 4 * width:
        # Half a channel keeps the product from falling below the whole number when timm cuts it off.
        kwargs["mlp_ratio"] = (hidden + 0.5) / width
    name = f"{stem}{'_quickgelu' if quick_gelu else ''}{size}"
    if not timm.is_model(name):
        raise UserError(f"timm has no {name}, which this image tower is; use another timm release")
    return {"name": name, "kwargs": kwargs}, state, grid * patch
