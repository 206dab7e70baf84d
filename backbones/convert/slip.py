"""SLIP (Mu et al. 2022; github.com/facebookresearch/SLIP), its CLIP and SimCLR: {"state_dict": module.visual.*, ...}.

The image tower is timm's ViT, ViT-S with 12 heads; the text tower is OpenAI's, with QuickGELU and an epsilon of 1e-5.
A-CLIP keeps a moving average of the image tower beside it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.convert import Converted
from backbones.convert.keys import Keys
from backbones.convert.openai_text import text_tower
from backbones.convert.vit import IMAGENET, describe_vit

VISUAL = "visual."


def matches(state: Mapping[str, Tensor]) -> bool:
    """timm's ViT under `visual.` beside a projection or SimCLR's head."""
    names = {key.removeprefix("module.") for key in state}
    return f"{VISUAL}patch_embed.proj.weight" in names and (
        "image_projection" in names or any(name.startswith("image_mlp.") for name in names)
    )


def convert(state: Mapping[str, Tensor], heads: int | None = None, text_heads: int | None = None) -> Converted:
    """Both towers, or SimCLR's image tower. Errors as `describe_vit` and `text_tower`; heads for unusual widths."""
    keys = Keys.without_module(state)
    contrastive, views = "image_projection" in keys, bool(keys.named(r"image_mlp\."))
    keys.drop_all(r"image_mlp\.", "the projector of the two views serves pretraining alone")
    keys.drop_all(r"visual_ema\.", "the trained encoder is used, not its moving average")
    encoder_state = {name.removeprefix(VISUAL): name for name in keys.named(r"visual\.")}
    encoder_state = {target: keys.take(name, target) for target, name in encoder_state.items()}
    encoder, size = describe_vit(encoder_state, heads, small_heads=12)
    text, text_state = None, None
    if contrastive:
        text, text_state = text_tower(keys, "quick_gelu", text_heads)
        if text is None:
            text_state = None
            keys.drop_all(r"image_projection|logit_scale", "it leads to the space of a text tower that is not kept")
        else:
            target = "image_projection.weight"
            text_state[target] = keys.take("image_projection", target, torch.t)
            text_state["logit_scale"] = keys.take("logit_scale", "logit_scale")
    method = {(True, True): "slip", (True, False): "clip"}.get((contrastive, views), "simclr")
    image = {**IMAGENET, "size": size}
    return Converted(
        encoder, encoder_state, keys.renamed, image, method,
        dropped=keys.dropped, new=keys.new, text=text, text_state=text_state,
    )  # fmt: skip
