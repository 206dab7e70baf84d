"""Build an image encoder by its timm name, and state the facts that the rest of the suite needs about it."""

import difflib
import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from backbones.relative_positions import take_any_size
from engine.errors import UserError

# Arguments that say how an encoder is used here rather than what it is; `build_encoder` sets them itself.
OWN_ARGUMENTS = ("pretrained", "num_classes", "dynamic_img_size", "strict_img_size", "features_only", "checkpoint_path")
# timm's modules whose models take any input size, and the argument that switches it on. Beit has none:
# backbones/relative_positions.py.
ANY_SIZE = {
    "dynamic_img_size": {"vision_transformer", "vision_transformer_hybrid", "deit", "eva"},
    "strict_img_size": {"swin_transformer", "swin_transformer_v2"},
}


@dataclass(frozen=True)
class EncoderFacts:
    """What an adapter has to know about an encoder.

    Attributes:
        plain: True for a plain ViT (one resolution, blocks of tokens), False for a hierarchical encoder (stages).
        strides: Pixels per cell of each block (plain) or stage (hierarchical), as timm numbers its intermediates.
        channels: Channels of each of them.
    """

    plain: bool
    strides: tuple[int, ...]
    channels: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Number of blocks (plain) or stages (hierarchical)."""
        return len(self.strides)


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
        near = difflib.get_close_matches(str(name).split(".")[0], timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "list the names with timm.list_models()"
        raise UserError(f"unknown encoder {name!r}: timm has no architecture of that name; {hint}")
    for key in OWN_ARGUMENTS:
        if key in kwargs:
            raise UserError(f"encoder {name}: argument {key!r} is set by build_encoder; remove it")
    for argument, modules in ANY_SIZE.items():
        if timm.models.is_model_in_modules(name, modules):
            kwargs[argument] = argument == "dynamic_img_size"
    try:
        encoder = timm.create_model(name, pretrained=False, num_classes=0, **kwargs)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise UserError(f"encoder {name}: {_explain(name, error)}") from error
    take_any_size(encoder)
    return encoder


def _explain(name: str, error: Exception) -> str:
    """One line on why timm could not build `name`; for an unknown argument, the known ones that are near."""
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if not unknown:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"timm refuses these arguments ({first_line}); correct the encoder's kwargs"
    with torch.device("meta"):  # no weights are needed to read a signature
        known = inspect.signature(type(timm.create_model(name, pretrained=False)).__init__).parameters
    near = difflib.get_close_matches(unknown[1], known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "remove it"
    return f"unknown argument {unknown[1]!r}; {hint}"


def describe_encoder(encoder: nn.Module) -> EncoderFacts:
    """Return the facts of a timm encoder from its public `feature_info`.

    Raises:
        UserError: the model has no `forward_intermediates`, so no dense features can be taken from it.
    """
    if not hasattr(encoder, "forward_intermediates") or not getattr(encoder, "feature_info", None):
        raise UserError(
            f"{type(encoder).__name__} offers no intermediate features (timm's forward_intermediates); "
            "choose another encoder"
        )
    strides = tuple(entry["reduction"] for entry in encoder.feature_info)
    channels = tuple(entry["num_chs"] for entry in encoder.feature_info)
    plain = hasattr(encoder, "blocks") and hasattr(encoder, "patch_embed") and len(set(strides)) == 1
    return EncoderFacts(plain, strides, channels)


def encoder_facts(name: str, kwargs: Mapping[str, Any] | None = None) -> EncoderFacts:
    """Return the facts of an encoder by name without allocating its weights. Errors as in `build_encoder`."""
    with torch.device("meta"):
        return describe_encoder(build_encoder(name, kwargs))


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

    A size that is no multiple of the encoder's largest stride is rounded up, as the adapters pad it.
    """
    with torch.device("meta"):
        module = build_encoder(encoder["name"], encoder["kwargs"]).requires_grad_(False)
    multiple = max(describe_encoder(module).strides)
    height, width = (math.ceil(side / multiple) * multiple for side in size)
    return flops_per_image(module, height, width)
