"""DINOv2 (facebookresearch/dinov2): the published ViTs of patch 14, with and without registers.

The width says which of timm's models it is, whose filter (`timm.py`) does the rest; all four were trained with
ImageNet's mean and std. Of a model of another width nothing here knows the heads: name it as `timm:NAME.TAG@FILE`.
A training's `teacher_checkpoint.pth` is read too: the encoder below `backbone.`, blocks in chunks, two heads beside it.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from backbones.convert import Converted
from backbones.convert import timm as of_timm
from backbones.convert.prefixes import restore

SIZES = {384: "small", 768: "base", 1024: "large", 1536: "giant"}  # width -> timm's size
PATCH = 14
HEADS = ("dino_head.", "ibot_head.")
KEYS = ("cls_token", "mask_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.ls1.gamma", "norm.weight")


def origins(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The encoder's keys as published -> those of the file."""
    own = (key for key in state if not key.startswith(HEADS))
    return {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key.removeprefix("backbone.")): key for key in own}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether this is a ViT with LayerScale, a mask token and patches of 14, of a published width."""
    state = {name: state[key] for name, key in origins(state).items()}
    if not all(key in state for key in KEYS):
        return False
    kernel = state["patch_embed.proj.weight"]
    return kernel.ndim == 4 and kernel.shape[-1] == PATCH and kernel.shape[0] in SIZES


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert it as the file of timm's model of this width. KeyError for a missing key, UserError for another width or
    depth."""
    origin = origins(state)
    heads = {key: "a head of self-distillation" for key in state if key.startswith(HEADS)}
    state = {name: state[key] for name, key in origin.items()}
    width = len(state["patch_embed.proj.weight"])
    registers = "_reg4" if "register_tokens" in state else ""
    model = f"vit_{SIZES.get(width, width)}_patch{PATCH}{registers}_dinov2.lvd142m"
    found = restore(of_timm.convert(state, model), origin)
    return replace(found, method="dino", family="dino", dropped={**found.dropped, **heads})
