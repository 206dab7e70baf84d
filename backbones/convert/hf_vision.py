"""Image encoders of Hugging Face's transformers: ViT, ViTMAE, DINOv2 (with registers), DINOv3's ViT, SigLIP, BEiT.

config.json tells what the shapes do not; hf_keys.py has the names. The checkpoints of SigLIP 2 with one image size are
of model_type siglip; siglip2 is NaFlex, for images of any shape, whose positions are resized here by the suite's own
policy (bicubic; bilinear there), so features are equal at the grid of the file.

ViT's and ViTMAE's epsilon of 1e-12 becomes timm's 1e-6, with which the published weights were trained: a feature
changes by the share 5e-7 / (variance of the token before the norm).
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from backbones.convert import PLUS, Converted, beit
from backbones.convert.hf_keys import KINDS, Kind
from backbones.convert.keys import Keys
from backbones.convert.prefixes import restore
from engine.errors import UserError

ACTIVATIONS = {"gelu": {}, "gelu_pytorch_tanh": {"act_layer": "gelu_tanh"}, "silu": {"act_layer": "silu"}}
HALF = [0.5, 0.5, 0.5]
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Never by keys alone: several kinds share them, and config.json tells them apart."""
    return False


def convert(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Converted:
    """Convert one of `KINDS`; `config` is the content of config.json.

    Raises:
        UserError: no config, or a field of it that the encoder here does not compute.
    """
    if config is None:
        raise UserError("name the folder with config.json rather than the file in it")
    kind = KINDS[config["model_type"]]
    numbers = {**kind.defaults, **(config.get("vision_config") or config)}
    gated = bool(numbers.get("use_swiglu_ffn") or numbers.get("use_gated_mlp"))
    kind = kind.with_gates() if gated else kind
    _require(config["model_type"], kind, numbers)
    if kind.method == "beit":
        return _beit(state, kind)
    keys = Keys(*_timm_names(state, kind))
    keys.dropped.update(dict.fromkeys((key for key in state if re.match(kind.dropped, key)), kind.reason))
    taken = {name: keys.take(name, name) for name in list(keys.state)}
    table = taken.get("pos_embed")
    encoder = _encoder(kind, numbers, taken, gated)
    if kind.merges_class_position and "reg_token" in taken:
        _merge_class_position(keys, taken)
    size = numbers["image_size"]
    if table is not None:
        extra = 0 if kind.pool == "map" else 1
        size = math.isqrt(table.shape[1] - extra) * numbers["patch_size"]
    encoder["kwargs"] |= {} if table is None else {"img_size": size}
    constants = IMAGENET if kind.imagenet else {"mean": HALF, "std": HALF}
    image = {**{name: list(values) for name, values in constants.items()}, "size": size}
    return Converted(encoder, taken, keys.renamed, image, kind.method, keys.dropped, keys.new)


def _beit(state: Mapping[str, Tensor], kind: Kind) -> Converted:
    """BEiT's own names first, then as its own files."""
    tensors, origin = _timm_names(state, kind)
    converted = restore(beit.convert(tensors), origin)
    dropped = [key for key in state if re.match(kind.dropped, key)]
    converted.dropped.update(dict.fromkeys(dropped, kind.reason))
    converted.image |= {"mean": list(HALF), "std": list(HALF)}
    return converted


def _require(name: str, kind: Kind, numbers: Mapping[str, Any]) -> None:
    """Refuse what the encoder here does not compute."""
    act = numbers["hidden_act"]
    if act not in ACTIVATIONS:
        raise UserError(f"config.json: {name} with hidden_act {act} is not known; known are {', '.join(ACTIVATIONS)}")
    if not 0 < numbers["layer_norm_eps"] <= 10 * kind.eps:
        raise UserError(
            f"config.json: layer_norm_eps is {numbers['layer_norm_eps']:g}, and timm's encoder has {kind.eps:g}"
        )
    for field, value in kind.fixed.items():
        if numbers.get(field, value) != value:
            raise UserError(f"config.json: {field} is {numbers[field]}, and timm's encoder computes with {value}")


def _timm_names(state: Mapping[str, Tensor], kind: Kind) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors under timm's names, timm's name -> the source keys), without those that are dropped."""
    tensors: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for key in state:
        if re.match(kind.dropped, key):
            continue
        name = key
        for prefix in kind.prefixes:
            name = name.removeprefix(prefix)
        for target, sources, make in kind.targets(name):
            stem = key.removesuffix(name)
            whole = [stem + source for source in sources]
            tensors[target] = make([state[source] for source in whole])
            origin[target] = PLUS.join(whole)
    return tensors, origin


def _encoder(kind: Kind, numbers: Mapping[str, Any], taken: Mapping[str, Tensor], gated: bool) -> dict[str, Any]:
    """{"name", "kwargs"}, with every size stated: one of timm's models of the kind, in the width of this one."""
    depth = 1 + max(int(name.split(".")[1]) for name in taken if name.startswith("blocks."))
    width = numbers["hidden_size"]
    kwargs: dict[str, Any] = {
        "patch_size": numbers["patch_size"], "embed_dim": width, "depth": depth,
        "num_heads": numbers["num_attention_heads"], **kind.arguments(taken),
        **({} if gated else ACTIVATIONS[numbers["hidden_act"]]),
    }  # fmt: skip
    fc1 = "fc1_g" if "blocks.0.mlp.fc1_g.weight" in taken else "fc1"
    hidden = taken[f"blocks.0.mlp.{fc1}.weight"].shape[0]
    kwargs |= {} if hidden == 4 * width else {"mlp_ratio": (hidden + 0.5) / width}
    return {"name": kind.model, "kwargs": kwargs}


def _merge_class_position(keys: Keys, taken: dict[str, Tensor]) -> None:
    """timm adds the class token's position to the token where registers stand between it and the patches."""
    table = taken["pos_embed"]
    taken["cls_token"] = taken["cls_token"] + table[:, :1]
    taken["pos_embed"] = table[:, 1:].contiguous()
    keys.renamed["cls_token"] += PLUS + keys.renamed["pos_embed"]
