"""A CLIPModel folder of Hugging Face's transformers (VeCLIP and many others): config.json and model.safetensors.

The towers are those of OpenAI's CLIP under other names, with query, key and value apart. What the shapes do not tell
stands in config.json, which `folder_options` reads. Source: huggingface/transformers
src/transformers/models/clip/modeling_clip.py and configuration_clip.py, whose defaults a config.json may leave out.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from backbones.convert import PLUS, Converted
from backbones.convert.keys import Keys
from backbones.convert.openai_clip import convert_vit
from backbones.convert.openai_text import EPS
from engine.errors import UserError

LAYER = {"layer_norm1": "ln_1", "self_attn.out_proj": "attn.out_proj", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
         "mlp.fc2": "mlp.c_proj"}  # fmt: skip
PLAIN = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_projection.weight": "text_projection",
    "logit_scale": "logit_scale",
}
NORMS = {
    "vision_model.pre_layrnorm": "visual.ln_pre",  # the letter is missing in the library too
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.final_layer_norm": "ln_final",
}
TOWERS = {"vision_model": "visual.transformer", "text_model": "transformer"}
TURNED = ("visual.proj", "text_projection")  # matrices there, linear layers here
ACTIVATIONS = {"quick_gelu": True, "gelu": False}
DEFAULTS = {"hidden_act": "quick_gelu", "layer_norm_eps": EPS}
HEADS = {"vision_config": 12, "text_config": 8}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Both towers in the names of transformers."""
    return "vision_model.pre_layrnorm.weight" in state and "text_model.final_layer_norm.weight" in state


def folder_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `convert` from a config.json.

    Raises:
        UserError: an activation or an epsilon that CLIP's towers do not have here.
    """
    parts = {name: {**DEFAULTS, **(config.get(name) or {})} for name in HEADS}
    for name, part in parts.items():
        act, eps = part["hidden_act"], part["layer_norm_eps"]
        if act not in ACTIVATIONS or act != parts["vision_config"]["hidden_act"] or abs(eps - EPS) > 1e-9:
            raise UserError(
                f"config.json: {name} has {act} and epsilon {eps:g}; the towers that are converted share one of "
                f"{', '.join(ACTIVATIONS)}, and have {EPS:g}"
            )
    heads = {name: part.get("num_attention_heads", HEADS[name]) for name, part in parts.items()}
    quick_gelu = ACTIVATIONS[parts["vision_config"]["hidden_act"]]
    return {"quick_gelu": quick_gelu, "heads": heads["vision_config"], "text_heads": heads["text_config"]}


def convert(
    state: Mapping[str, Tensor], quick_gelu: bool | None = None, heads: int | None = None, text_heads: int | None = None
) -> Converted:
    """Both towers; the arguments are those of config.json.

    Raises:
        UserError: the file comes without its config.json, and `quick_gelu` is not stated either.
    """
    if quick_gelu is None:
        raise UserError(
            "name the folder with config.json rather than the file in it, or state quick_gelu=true or false"
        )
    keys, positions = _openai_names(state)
    converted = convert_vit(keys, quick_gelu, heads, text_heads)
    converted.dropped.update(dict.fromkeys(positions, "0, 1, 2, ...: no weight"))
    return converted


def _openai_names(state: Mapping[str, Tensor]) -> tuple[Keys, list[str]]:
    """(the weights under OpenAI's names, keys that hold no weight)."""
    names = dict(PLAIN)
    for part in ("weight", "bias"):
        names |= {f"{old}.{part}": f"{new}.{part}" for old, new in NORMS.items()}
    tensors: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    positions = []
    for key, value in state.items():
        layer = re.fullmatch(r"(\w+)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", key)
        if layer:
            tower, index, name, part = layer.groups()
            stem = f"{TOWERS[tower]}.resblocks.{index}"
            if name in ("self_attn.k_proj", "self_attn.v_proj"):
                continue  # joined to its query
            if name == "self_attn.q_proj":
                three = [key.replace("q_proj", f"{letter}_proj") for letter in "qkv"]
                target, source = f"{stem}.attn.in_proj_{part}", PLUS.join(three)
                value = torch.cat([state[name] for name in three])
            else:
                target, source = f"{stem}.{LAYER.get(name, name)}.{part}", key
        elif key.endswith(".position_ids"):
            positions.append(key)
            continue
        else:
            target, source = names.get(key, key), key
        tensors[target] = value.t() if target in TURNED else value
        origin[target] = source
    return Keys(tensors, origin), positions
