"""open_clip: a bare state dict in OpenAI's names, also with its text tower under "text." or a timm image tower.

Whether a ViT was trained with QuickGELU cannot be seen in its weights: `quick_gelu` states it ("true" for weights whose
model name in open_clip ends in -quickgelu and for those of OpenAI, DFN and MetaCLIP; LAION's and DataComp's: "false").
Source: mlfoundations/open_clip src/open_clip/model.py, timm_model.py, model_configs/.
"""

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.data import IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from torch import Tensor

from backbones.convert import Converted
from backbones.convert.keys import Keys
from backbones.convert.openai_clip import NUMBERS, convert_vit
from backbones.convert.openai_text import EPS, PARTS, text_tower
from backbones.encoder import build_encoder
from engine.errors import UserError

TRUNK = "visual.trunk."
# Apple's image towers, which their shapes tell apart; see `convert`.
MOBILE = ("fastvit_mci0", "fastvit_mci1", "fastvit_mci2", "fastvit_mci3", "fastvit_mci4", "vit_base_mci_224")
# A timm tower's last layer where it is the projection into the shared space, as in Apple's.
LAST = ("visual.trunk.head.fc.", "visual.trunk.head.", "visual.head.proj.")


def matches(state: Mapping[str, Tensor]) -> bool:
    """OpenAI's names without its archive's numbers, or a timm trunk."""
    names = {key.removeprefix("module.") for key in state}
    vit = {"visual.conv1.weight", "visual.proj"} <= names and names.isdisjoint(NUMBERS)
    return vit or any(name.startswith(TRUNK) for name in names)


def convert(
    state: Mapping[str, Tensor],
    quick_gelu: bool | None = None,
    heads: int | None = None,
    text_heads: int | None = None,
    trunk: str | None = None,
    size: int | None = None,
    causal: bool | None = None,
    eps: float = EPS,
    pre_norm: bool = True,
    pool: str = "",
    text_eps: float = EPS,
    text_reason: str | None = None,
) -> Converted:
    """Both towers.

    Args:
        state: The file's tensors.
        quick_gelu: Whether the towers use QuickGELU (a timm trunk's own activation is part of its name).
        heads, text_heads: Attention heads, for widths that were not published.
        trunk: timm name of a timm image tower; Apple's are recognised.
        size: Pixels per side of a timm tower; Apple's were trained at 256, its ViT at 224.
        eps, text_eps: Epsilon of the norms of a ViT in OpenAI's names, and of the text tower's blocks.
        pre_norm: Whether that ViT has a norm before its blocks.
        pool: Pooling of a timm tower, where it is not the model's own.
        text_reason: Why the text tower is not kept, if the configuration says so.
        causal: Whether the text tower is causal; Apple's that stand beside a FastViT are not, all others are.

    Raises:
        UserError: what the file does not tell is not stated.
    """
    keys = Keys.without_module(state)
    sigmoid = "logit_bias" in keys  # SigLIP
    if sigmoid:
        keys.drop("logit_bias", "an offset of all logits, which changes no ranking")
    prefix = "text." if keys.named(r"text\.") else ""
    if not keys.named(TRUNK):
        if quick_gelu is None:
            raise UserError("the weights do not tell whether they use QuickGELU; state quick_gelu=true or false")
        converted = convert_vit(
            keys, quick_gelu, heads, text_heads, causal=causal is not False, text_prefix=prefix, eps=eps,
            pre_norm=pre_norm, text_eps=text_eps, text_reason=text_reason,
        )  # fmt: skip
    else:
        converted = convert_timm(
            keys, quick_gelu, text_heads, trunk, size, causal=causal, prefix=prefix, pool=pool, text_eps=text_eps,
            text_reason=text_reason,
        )  # fmt: skip
    if sigmoid:
        converted.method = "siglip"
        converted.image |= {"mean": list(IMAGENET_INCEPTION_MEAN), "std": list(IMAGENET_INCEPTION_STD)}
    return converted


def convert_timm(
    keys: Keys,
    quick_gelu: bool | None = None,
    text_heads: int | None = None,
    trunk: str | None = None,
    size: int | None = None,
    causal: bool | None = None,
    prefix: str = "text.",
    pool: str = "",
    text_eps: float = EPS,
    text_reason: str | None = None,
) -> Converted:
    """Both towers of a model with a timm trunk; arguments as in `convert`."""
    last = next((name for name in LAST if f"{name}weight" in keys), None)
    projection = [] if last is None else [name for name in (f"{last}weight", f"{last}bias") if name in keys]
    body = [name for name in keys.named(TRUNK) if name not in projection]
    name = trunk or _recognise(keys, body)
    apple = name in MOBILE
    if not apple and (quick_gelu is None or size is None):
        raise UserError(f"what {name} was trained with is not known; state quick_gelu=true or false and size=PIXELS")
    state = {target: keys.take(f"{TRUNK}{target}", target) for target in (key.removeprefix(TRUNK) for key in body)}
    causal = not name.startswith("fastvit_mci") if causal is None else causal
    act = "quick_gelu" if quick_gelu else "gelu"
    if last is None:
        keys.drop_all(rf"({prefix}|visual\.head\.)" if prefix else PARTS, "no linear projection leads to its space")
        text, text_state = None, {}
    else:
        text, text_state = text_tower(keys, act, text_heads, causal, prefix, text_eps, text_reason)
    if text is None:
        for key in [*projection, "logit_scale"]:
            keys.drop(key, "belongs to the shared space of a text tower that is not kept")
    else:
        for key in projection:
            target = f"image_projection.{key.removeprefix(last)}"
            if key.endswith("bias") and not keys[key].any():
                keys.drop(key, "zero")
            else:
                text_state[target] = keys.take(key, target)
        text_state["logit_scale"] = keys.take("logit_scale", "logit_scale", lambda scale: scale.reshape(()))
    image: dict[str, Any] = {"mean": list(OPENAI_CLIP_MEAN), "std": list(OPENAI_CLIP_STD), "size": size}
    if apple:
        image = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": size or (224 if name == "vit_base_mci_224" else 256)}
    return Converted(
        {"name": name, "kwargs": _pooling(name, pool)}, state, keys.renamed, image, "datacompdr" if apple else "clip",
        dropped=keys.dropped, new=keys.new, text=text, text_state=text_state if text else None,
    )  # fmt: skip


def _pooling(name: str, pool: str) -> dict[str, str]:
    """The argument for a pooling that is not the model's own."""
    with torch.device("meta"):
        own = getattr(build_encoder(name), "global_pool", "avg")  # a CNN's is a module, and the mean
    return {"global_pool": pool} if pool and pool != (own if isinstance(own, str) else "avg") else {}


def _recognise(keys: Keys, body: list[str]) -> str:
    """The Apple tower whose keys and shapes the file has."""
    shapes = {key.removeprefix(TRUNK): keys[key].shape for key in body}
    for name in MOBILE:
        if not timm.is_model(name):
            continue
        with torch.device("meta"):
            model = build_encoder(name)
        if {key: value.shape for key, value in model.state_dict().items()} == shapes:
            return name
    raise UserError("the timm image tower is none of Apple's; state its timm name by trunk=NAME")
