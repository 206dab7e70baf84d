"""DeiT (Touvron et al. 2021; github.com/facebookresearch/deit): {"model": timm's keys}, with its classifier.

The distilled models have a second extra token (`dist_token`) and a second classifier.
"""

from collections.abc import Mapping

from torch import Tensor

from backbones.convert import Converted
from backbones.convert.vit import convert_plain, is_plain

DROP = {r"head\..*": "the classifier", r"head_dist\..*": "the classifier of the distillation token"}


def matches(state: Mapping[str, Tensor]) -> bool:
    """A plain ViT with a classifier; the distillation token is DeiT's own."""
    rest = {key: value for key, value in state.items() if not key.startswith(("head.", "head_dist.", "dist_token"))}
    return len(rest) < len(state) and is_plain(rest)


def convert(state: Mapping[str, Tensor], heads: int | None = None) -> Converted:
    """Encoder without classifiers; timm's `deit_*_distilled` where there is a distillation token."""
    return convert_plain(state, "supervised", drop=DROP, heads=heads)
