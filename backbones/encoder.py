"""Build an image encoder by its timm name, and state the facts that the rest of the suite needs about it."""

import functools
import inspect
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import timm
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from backbones.facts import EncoderFacts, describe_encoder
from backbones.relative_positions import take_any_size
from engine.errors import UserError
from engine.names import did_you_mean

# Arguments that say how an encoder is used here rather than what it is; `build_encoder` sets them itself.
OWN_ARGUMENTS = ("pretrained", "num_classes", "dynamic_img_size", "strict_img_size", "features_only", "checkpoint_path")
DEPTHS, DEEPEST = ("depth", "depths", "layers"), 1000  # arguments that count blocks, each of which takes time to build
# Arguments that make a timm class take any input size, in the order of trial; the first that it knows is set. Beit has
# none: backbones/relative_positions.py.
ANY_SIZE: tuple[dict[str, bool], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True}, {})


def build_encoder(name: str, kwargs: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a randomly initialised timm encoder without classifier that takes any input size where timm allows it.

    Args:
        name: timm architecture name, without a weight tag.
        kwargs: The architecture's own arguments (img_size, patch_size, embed_dim, drop_path_rate, ...).

    Raises:
        UserError: unknown name, unknown argument, an argument in `OWN_ARGUMENTS`, or values that timm refuses.
    """
    kwargs = dict(kwargs or {})
    if not isinstance(name, str) or not timm.is_model(name) or "." in name:
        hint = did_you_mean(str(name).split(".")[0], timm.list_models()) or "; list the names with timm.list_models()"
        raise UserError(f"unknown encoder {name!r}: timm has no architecture of that name{hint}")
    for key in OWN_ARGUMENTS:
        if key in kwargs:
            raise UserError(f"encoder {name}: argument {key!r} is set by build_encoder; remove it")
    for key, value in kwargs.items():
        if key in DEPTHS and any(isinstance(one, int) and one > DEEPEST for one in np.ravel(value).tolist()):
            raise UserError(f"encoder {name}: {key} is {value}, and no encoder has more than {DEEPEST}; correct it")
    try:
        encoder = _create(name, kwargs)
    except Exception as error:  # whatever an architecture makes of arguments that it was not written for
        raise UserError(f"encoder {name}: {_explain(name, error)}") from error
    take_any_size(encoder)
    return encoder


def _create(name: str, kwargs: dict[str, Any]) -> nn.Module:
    """timm's model without classifier, told to take any size if its class knows how."""
    for any_size in ANY_SIZE:
        try:
            return timm.create_model(name, pretrained=False, num_classes=0, **kwargs, **any_size)
        except TypeError as error:
            if not any(_unknown_argument(error) == key for key in any_size):
                raise
    raise AssertionError("the last trial adds no argument")


def _unknown_argument(error: Exception) -> str | None:
    """The argument that a class does not know, by Python's own message or that of a class with a check of its own."""
    found = re.search(r"unexpected keyword argument(?:\(s\):)? \[?'(\w+)'", str(error))
    return found[1] if found else None


def _explain(name: str, error: Exception) -> str:
    """One line on why timm could not build `name`; for an unknown argument, the known ones that are near."""
    unknown = _unknown_argument(error)
    if not unknown:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"timm refuses these arguments ({first_line}); correct the encoder's kwargs"
    with torch.device("meta"):  # no weights are needed to read a signature
        known = inspect.signature(type(timm.create_model(name, pretrained=False)).__init__).parameters
    return f"unknown argument {unknown!r}{did_you_mean(unknown, known) or '; remove it'}"


def encoder_facts(name: str, kwargs: Mapping[str, Any] | None = None) -> EncoderFacts:
    """Return the facts of an encoder by name without allocating its weights.

    Raises:
        UserError: as `build_encoder` and `describe_encoder`.
    """
    return _facts(name, json.dumps(dict(kwargs or {}), sort_keys=True))


@functools.cache  # a run asks for the same encoder several times
def _facts(name: str, kwargs: str) -> EncoderFacts:
    with torch.device("meta"):
        return describe_encoder(build_encoder(name, json.loads(kwargs)), name)


def parameter_count(module: nn.Module) -> int:
    """Number of parameters (shared ones once, buffers not)."""
    return sum(parameter.numel() for parameter in module.parameters())


def flops_per_image(module: nn.Module, height: int, width: int) -> int:
    """Floating-point operations of one forward pass on one image [1, 3, height, width] (2 per multiply-add).

    Counts matrix products and convolutions (torch.utils.flop_counter), as is usual; norms and activations are left out.
    The module is run once in evaluation mode on its own device, and its mode is restored.
    """
    was_training = module.training
    parameter = next(module.parameters())
    image = torch.zeros(1, 3, height, width, device=parameter.device, dtype=parameter.dtype)
    module.eval()
    try:
        # The plain attention kernel is made of matrix products, which the counter knows on every device.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            module(image)
    finally:
        module.train(was_training)
    return counter.get_total_flops()


def encoder_flops(encoder: Mapping[str, Any], size: tuple[int, int]) -> int:
    """`flops_per_image` of the encoder {"name", "kwargs"} at (height, width), without allocating its weights.

    A size that the encoder does not take is rounded up, as the adapters pad it.
    """
    with torch.device("meta"):
        module = build_encoder(encoder["name"], encoder["kwargs"]).requires_grad_(False)
    multiple = encoder_facts(encoder["name"], encoder["kwargs"]).multiple
    height, width = (math.ceil(side / multiple) * multiple for side in size)
    return flops_per_image(module, height, width)
