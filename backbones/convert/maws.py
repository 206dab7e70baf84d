"""MAWS (Singh et al. 2023; github.com/facebookresearch/maws): a bare state dict of timm's ViT without classifier.

The contrastive models keep it under `vision_encoder.`; their XLM-R text tower has no counterpart in the suite.
"""

from collections.abc import Mapping

from torch import Tensor

from backbones.convert import Converted
from backbones.convert.vit import convert_plain, has_fixed_positions, is_plain

XLM_R = "the multilingual text tower (XLM-R) has no counterpart here"
DROP = {
    r"text_encoder\..*|text_projection|text_tokenizer\..*": XLM_R,
    r"vision_projection|logit_scale": "it leads to the space shared with the text tower, which is left out",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """`vision_encoder.*` beside `vision_projection`, or a plain ViT with learned positions and no head."""
    return "vision_projection" in state or (is_plain(state) and not has_fixed_positions(state))


def convert(state: Mapping[str, Tensor], heads: int | None = None) -> Converted:
    """The image encoder; method wsp, or clip where it was trained with a text tower."""
    if "vision_projection" in state:
        return convert_plain(state, "clip", "vision_encoder.", DROP, heads)
    return convert_plain(state, "wsp", heads=heads)
