"""MAE (He et al. 2022; github.com/facebookresearch/mae): {"model": timm's keys}, fixed positions, no head.

The visualisation checkpoint adds the decoder (`decoder_*`) and `mask_token`, a fine-tuned one a head. The encoder-only
file has the keys of any plain ViT; it is told from the others by the class token's position, which is zero. dBOT and
MAWS' MAE stage share that mark and MAE's objective.
"""

from collections.abc import Mapping

from torch import Tensor

from backbones.convert import Converted
from backbones.convert.vit import convert_plain, has_fixed_positions, is_plain

DROP = {
    r"decoder_.*": "the decoder serves pretraining alone",
    r"mask_token": "it stands for hidden patches in the decoder",
    r"head\..*": "the classifier of fine-tuning",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Decoder and mask token beside timm's keys, or the encoder alone with fixed positions."""
    return {"mask_token", "decoder_pos_embed"} <= set(state) or (is_plain(state) and has_fixed_positions(state))


def convert(state: Mapping[str, Tensor], heads: int | None = None) -> Converted:
    """Encoder without decoder. Errors as `convert_plain`."""
    return convert_plain(state, "mae", drop=DROP, heads=heads)
