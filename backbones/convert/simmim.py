"""SimMIM (microsoft/SimMIM, models/simmim.py): `encoder.*` with a mask token beside `decoder.0`, one 1 x 1 convolution.

Its ViT is BEiT's, with ImageNet's mean and standard deviation; its Swin keeps the windows that its tables were trained
with, of 6 patches for images of 192 pixels. Files of another encoder are read as `timm:NAME.TAG@FILE`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from backbones.convert import Converted, timm
from backbones.convert.beit import INDEX, bare, beit_encoder, sort_keys
from backbones.convert.prefixes import MASK, of_masked, restore
from backbones.relative_positions import TABLE
from engine.errors import UserError

IMAGE = {"mean": list(IMAGENET_DEFAULT_MEAN), "std": list(IMAGENET_DEFAULT_STD)}
DROP = {
    re.escape(MASK): "stands for hidden patches in pretraining only",
    r"decoder\..*": "predicts pixels in pretraining only",
    r".*\.relative_position_index": INDEX,
    r".*\.attn_mask": "keeps shifted windows apart, which follows from the grid",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether these are an encoder with a mask token and a decoder, and nothing else; BEiT's wrapped has no decoder."""
    return of_masked(state) and any(key.startswith("decoder.") for key in state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert SimMIM's keys. UserError for an encoder that is not its ViT or its Swin, KeyError for a missing key."""
    names, dropped = sort_keys(state, "encoder.", DROP)
    inner = {name: state[key] for name, key in names.items()}
    if bare(inner):
        return replace(beit_encoder(state, names, dropped, IMAGE, "simmim"), family="mim")
    if f"layers.0.blocks.0.attn.{TABLE}" not in inner:
        raise UserError("its encoder is neither SimMIM's ViT nor its Swin; say which model of timm it is by "
                        "timm:NAME.TAG@FILE")  # fmt: skip
    kwargs = _swin(inner, state.get("encoder.layers.0.blocks.1.attn_mask"))
    found = timm.convert(inner, "swin_base_patch4_window7_224", IMAGE["mean"], IMAGE["std"], kwargs["img_size"], kwargs)
    found = restore(found, names, dropped)
    return replace(found, encoder={"name": found.encoder["name"], "kwargs": kwargs}, method="simmim", family="mim")


def _swin(inner: Mapping[str, Tensor], mask: Tensor | None) -> dict[str, Any]:
    """The arguments of timm's Swin that shapes tell; `mask` [windows, tokens, tokens] is the first shifted block's."""
    patches, hidden = inner["patch_embed.proj.weight"], inner["layers.0.blocks.0.mlp.fc1.weight"]
    places = [re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", key) for key in inner]
    pairs = [(int(place[1]), int(place[2])) for place in places if place]
    stages = range(1 + max(stage for stage, _ in pairs))
    tables = [inner[f"layers.{stage}.blocks.0.attn.{TABLE}"] for stage in stages]
    patch, window = patches.shape[-1], (math.isqrt(len(tables[0])) + 1) // 2
    windows = 2 ** (len(stages) - 1) if mask is None else math.isqrt(len(mask))  # else one window in the last stage
    return {
        "img_size": windows * window * patch,
        "patch_size": patch,
        "window_size": window,
        "embed_dim": len(patches),
        "depths": tuple(1 + max(block for stage, block in pairs if stage == which) for which in stages),
        "num_heads": tuple(table.shape[1] for table in tables),
        "mlp_ratio": len(hidden) / len(patches),
    }
