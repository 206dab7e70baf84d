"""Apple's own MobileCLIP files (S0, S1, S2, B, B-LT), not fused: brought to open_clip's names and converted from those.

timm's readers rename the image tower. The text tower of S0, partly of convolutions, has no counterpart here; its file
gives the image tower alone. Source: apple/ml-mobileclip mobileclip/, and mlfoundations/open_clip
src/open_clip/convert.py for the names of the text tower.
"""

import re
from collections.abc import Mapping

import timm
import torch
from timm.models import fastvit, vision_transformer_hybrid
from torch import Tensor

from backbones.convert import Converted
from backbones.convert.keys import Keys
from backbones.convert.open_clip import MOBILE, TRUNK, convert_timm
from engine.errors import UserError

IMAGE, TEXT = "image_encoder.model.", "text_encoder."
STEMS = {f"{IMAGE}patch_embed.0.rbr_conv.0.conv.weight": fastvit, f"{IMAGE}patch_emb.0.block.conv.weight": None}
TEXT_NAMES = {
    r"embedding_layer\.weight": "token_embedding.weight",
    r"positional_embedding\.pos_embed\.pos_embed": "positional_embedding",
    r"final_layer_norm\.(weight|bias)": r"ln_final.\1",
    r"projection_layer": "text_projection",
    r"transformer\.(\d+)\.pre_norm_mha\.0\.(weight|bias)": r"transformer.resblocks.\1.ln_1.\2",
    r"transformer\.(\d+)\.pre_norm_mha\.1\.qkv_proj\.(weight|bias)": r"transformer.resblocks.\1.attn.in_proj_\2",
    r"transformer\.(\d+)\.pre_norm_mha\.1\.out_proj\.(weight|bias)": r"transformer.resblocks.\1.attn.out_proj.\2",
    r"transformer\.(\d+)\.pre_norm_ffn\.0\.(weight|bias)": r"transformer.resblocks.\1.ln_2.\2",
    r"transformer\.(\d+)\.pre_norm_ffn\.1\.(weight|bias)": r"transformer.resblocks.\1.mlp.c_fc.\2",
    r"transformer\.(\d+)\.pre_norm_ffn\.4\.(weight|bias)": r"transformer.resblocks.\1.mlp.c_proj.\2",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Apple's names of the image tower's first layer."""
    return any(stem in state for stem in STEMS)


def convert(state: Mapping[str, Tensor], text_heads: int | None = None) -> Converted:
    """Both towers, or S0's image tower. `text_heads` is needed only for widths that were not published.

    Raises:
        UserError: an image tower that is none of the published ones, or a fused one.
    """
    tensors, origin = _image_tower(state)
    text, text_origin = {}, {}
    other = []
    for key in (key for key in state if key.startswith(TEXT)):
        name = _text_name(key.removeprefix(TEXT))
        if name is None:
            other.append(key)
            continue
        value = state[key]
        text[f"text.{name}"] = value.reshape(value.shape[-2:]) if name == "positional_embedding" else value
        text_origin[f"text.{name}"] = key
    if other:  # open_clip's names would promise a whole transformer
        text, text_origin = {f"text.{key}": state[key] for key in state if key.startswith(TEXT)}, {}
        text_origin = {f"text.{key}": key for key in state if key.startswith(TEXT)}
    keys = Keys({**tensors, **text, "logit_scale": state["logit_scale"]},
                {**origin, **text_origin, "logit_scale": "logit_scale"})  # fmt: skip
    return convert_timm(keys, text_heads=text_heads)


def _text_name(key: str) -> str | None:
    """open_clip's name of a key of the text tower, None where it has none."""
    return next((re.sub(old, new, key) for old, new in TEXT_NAMES.items() if re.fullmatch(old, key)), None)


def _image_tower(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(open_clip key -> tensor, open_clip key -> Apple's key) of the image tower."""
    image = {key: value for key, value in state.items() if key.startswith(IMAGE)}
    is_fastvit = any(STEMS[stem] is fastvit for stem in STEMS if stem in state)
    # The readers move each tensor whole or as a view of it, which still starts at the same place in memory.
    image = {key: value.clone() for key, value in image.items()}
    home = {value.data_ptr(): key for key, value in image.items()}
    with torch.device("meta"):  # they ask a model for its layers, not for its weights
        model = timm.create_model(MOBILE[0] if is_fastvit else MOBILE[-1], num_classes=512)
    reader = fastvit if is_fastvit else vision_transformer_hybrid
    try:
        renamed = reader.checkpoint_filter_fn(image, model)
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"the image tower is not MobileCLIP's ({error}); take the published file") from None
    found = {name: home[value.data_ptr()] for name, value in renamed.items() if value.data_ptr() in home}
    return {f"{TRUNK}{name}": renamed[name] for name in found}, {f"{TRUNK}{name}": key for name, key in found.items()}
