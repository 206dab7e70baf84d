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


def convert(state: Mapping[str, Tensor], size: int | None = None) -> Converted:
    """Convert SimMIM's keys.

    Args:
        state: The file's tensors.
        size: Pixels per side in pretraining, of a Swin whose file has no mask of shifted windows to tell it.

    Raises:
        UserError: an encoder that is not its ViT or its Swin, or a Swin of unknown or no square size. KeyError for a
            missing key.
    """
    names, dropped = sort_keys(state, "encoder.", DROP)
    inner = {name: state[key] for name, key in names.items()}
    if not names:
        raise UserError("no key begins with encoder., as all of SimMIM's encoder do; state no prefix")
    if bare(inner):
        return replace(beit_encoder(state, names, dropped, IMAGE, "simmim"), family="mim")
    if f"layers.0.blocks.0.attn.{TABLE}" not in inner:
        raise UserError("its encoder is neither SimMIM's ViT nor its Swin; say which model of timm it is by "
                        "timm:NAME.TAG@FILE")  # fmt: skip
    kwargs = _swin(inner)
    kwargs = {"img_size": _side(state, kwargs) or size, **kwargs}
    if not isinstance(kwargs["img_size"], int):
        raise UserError("nothing in the file tells the size of the Swin's images; state it, as in --options size=192")
    found = timm.convert(inner, "swin_base_patch4_window7_224", IMAGE["mean"], IMAGE["std"], kwargs["img_size"], kwargs)
    found = restore(found, names, dropped)
    return replace(found, method="simmim", family="mim")


def _swin(inner: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of timm's Swin that shapes of weights tell: all but the size of the images."""
    patches, hidden = inner["patch_embed.proj.weight"], inner["layers.0.blocks.0.mlp.fc1.weight"]
    places = [re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", key) for key in inner]
    pairs = [(int(place[1]), int(place[2])) for place in places if place]
    stages = range(1 + max(stage for stage, _ in pairs))
    tables = [inner[f"layers.{stage}.blocks.0.attn.{TABLE}"] for stage in stages]
    return {
        "patch_size": patches.shape[-1],
        "window_size": (math.isqrt(len(tables[0])) + 1) // 2,  # a table has (2 window - 1)^2 rows
        "embed_dim": len(patches),
        "depths": tuple(1 + max(block for stage, block in pairs if stage == which) for which in stages),
        "num_heads": tuple(table.shape[1] for table in tables),
        "mlp_ratio": len(hidden) / len(patches),
    }


def _side(state: Mapping[str, Tensor], kwargs: Mapping[str, Any]) -> int | None:
    """Pixels per side by a mask of shifted windows [windows, tokens, tokens] of any stage; None where there is none."""
    masks = {int(key.split(".")[2]): mask for key, mask in state.items() if key.endswith(".attn_mask")}
    if not masks:
        return None
    stage, mask = min(masks.items())
    windows, tokens = (math.isqrt(count) for count in mask.shape[:2])
    if windows**2 != len(mask):
        raise UserError(f"the masks of stage {stage} are of {len(mask)} windows, which is no square number: its images "
                        "are not square, and one size cannot stand for them")  # fmt: skip
    return windows * tokens * kwargs["patch_size"] * 2**stage
