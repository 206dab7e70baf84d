"""A state dict of any timm model. Keys tell neither the model nor its normalisation, so the user names the model.

`model=vit_base_patch16_224.augreg_in21k`: timm's own description of that tag gives image mean, std and size.
"""

import math
import re
from collections.abc import Mapping

import timm
import torch
from torch import Tensor

from backbones.convert import Converted
from backbones.convert.vit import has_fixed_positions, is_plain
from backbones.encoder import build_encoder
from engine.errors import UserError


def matches(state: Mapping[str, Tensor]) -> bool:
    """A plain ViT, with or without a classifier, that only its user can tell from those of DINO, DeiT or MAWS."""
    rest = {key: value for key, value in state.items() if not key.startswith("head.")}
    return is_plain(rest) and not has_fixed_positions(rest)


def convert(state: Mapping[str, Tensor], model: str | None = None) -> Converted:
    """Convert the state dict of timm's `model`, with or without its classifier.

    Raises:
        UserError: no or an unknown model.
    """
    if model is None:
        raise UserError("a timm state dict does not say which model it is; state it by model=NAME.TAG")
    name = model.split(".")[0]
    with torch.device("meta"):
        reference = build_encoder(name)
    try:
        facts = timm.get_pretrained_cfg(model)
    except RuntimeError:
        known = timm.list_pretrained(f"{name}.*")
        raise UserError(f"timm has no weights {model}; known tags: {', '.join(known) or 'none'}") from None
    names = [facts.classifier] if isinstance(facts.classifier, str) else facts.classifier or []
    heads = "|".join(re.escape(classifier) for classifier in names)
    dropped = {key: "the classifier" for key in state if heads and re.fullmatch(rf"({heads})\..*", key)}
    kept = {key: value for key, value in state.items() if key not in dropped}
    kwargs, size = {}, facts.input_size[-1]
    table = getattr(reference, "pos_embed", None)
    if table is not None and "pos_embed" in kept and kept["pos_embed"].shape != table.shape:
        extra = table.shape[1] - reference.patch_embed.num_patches
        size = math.isqrt(kept["pos_embed"].shape[1] - extra) * reference.patch_embed.patch_size[0]
        kwargs["img_size"] = size
    image = {"mean": list(facts.mean), "std": list(facts.std), "size": size}
    return Converted({"name": name, "kwargs": kwargs}, kept, {key: key for key in kept}, image, "timm", dropped)
