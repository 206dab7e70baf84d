"""MoCo v3 (Chen et al. 2021; github.com/facebookresearch/moco-v3): {"state_dict": module.base_encoder.* and others}.

Positions are fixed, rows in the first half of the channels; ViT-S has 12 heads, not DeiT's 6.
"""

from collections.abc import Mapping

from torch import Tensor

from backbones.convert import Converted
from backbones.convert.vit import convert_plain

PREFIX = "module.base_encoder."
DROP = {
    r"module\.base_encoder\.head\..*": "the projector serves pretraining alone",
    r"module\.predictor\..*": "the predictor serves pretraining alone",
    r"module\.momentum_encoder\..*": "the base encoder is used, as in the published evaluations",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """`module.base_encoder.*` of a ViT."""
    return f"{PREFIX}pos_embed" in state


def convert(state: Mapping[str, Tensor], heads: int | None = None) -> Converted:
    """The base encoder without projector."""
    return convert_plain(state, "moco_v3", PREFIX, DROP, heads, small_heads=12)
