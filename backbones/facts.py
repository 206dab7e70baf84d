"""What an adapter has to know of an encoder, found by asking it: it is run on small images and its maps are measured.

timm's own descriptions are not enough: some state other strides than the maps have, and none says which sizes a model
takes. An encoder is described by running it at sizes that are no squares, on whatever device holds it; on the meta
device that costs no arithmetic.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import UserError

# Multiples of the largest stride that are tried as the unit of an encoder's sizes: cells, and windows of cells.
FACTORS = (1, 2, 4, 6, 7, 8, 10, 12, 14, 16)
# What timm's models raise for a size that they do not take.
REFUSALS = (AssertionError, RuntimeError, ValueError, TypeError, IndexError, ZeroDivisionError)


MESSAGE = 90  # characters that are kept of a model's own message


@dataclass(frozen=True)
class EncoderFacts:
    """What an adapter has to know about an encoder.

    Attributes:
        plain: True where all maps have one stride (a plain ViT: blocks of tokens), False for a hierarchical encoder.
        strides: Pixels per cell of each block (plain) or stage (hierarchical), as timm numbers its intermediates.
        channels: Channels of each of them.
        multiple: Heights and widths that the encoder takes are the multiples of this; never below the largest stride.
        only: Pixels per side of the only images that it takes, or None if it takes many.
    """

    plain: bool
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    multiple: int
    only: int | None = None

    @property
    def depth(self) -> int:
        """Number of blocks (plain) or of maps (hierarchical)."""
        return len(self.strides)

    @property
    def stages(self) -> tuple[int, ...]:
        """Indices of the maps that end a stage: the last one of each stride. At most the last four of them."""
        ends = [i for i, (here, after) in enumerate(pairwise([*self.strides, None])) if here != after]
        return tuple(ends[-4:])


def has_token_blocks(encoder: nn.Module) -> bool:
    """Whether an encoder is a stack of blocks over patch tokens, as a ViT is: some of one stride are convolutional."""
    return describe_encoder(encoder).plain and hasattr(encoder, "blocks") and hasattr(encoder, "patch_embed")


class _NoFit(Exception):
    """An encoder's maps do not divide the image evenly."""


def describe_encoder(encoder: nn.Module, name: str | None = None) -> EncoderFacts:
    """Measure a timm encoder: its maps' strides and channels, and the sizes of images that it takes.

    It is run without gradients in evaluation mode, on its own device and in its own type; its mode is restored.

    Args:
        encoder: The model.
        name: What messages call it; by default its class.

    Raises:
        UserError: no `forward_intermediates`, so no dense features can be taken from it; maps that do not divide an
            image evenly.
    """
    kind = name or type(encoder).__name__
    if not hasattr(encoder, "forward_intermediates"):
        raise UserError(
            f"{kind} offers no intermediate features (timm's forward_intermediates); choose another encoder"
        )
    parameter = next(encoder.parameters())
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    try:
        with torch.no_grad():
            return _measure(encoder, kind, parameter)
    finally:
        for module, training in modes:
            module.training = training


def _measure(encoder: nn.Module, kind: str, like: Tensor) -> EncoderFacts:
    claimed, natives = _claimed_stride(encoder), _native_sizes(encoder)
    tried = [claimed * factor for factor in FACTORS]
    for multiple in [*tried, *(size for size in natives if size not in tried)]:
        try:
            one = _maps(encoder, like, multiple, 2 * multiple)
            other = _maps(encoder, like, 3 * multiple, 2 * multiple)
        except (*REFUSALS, _NoFit):
            continue
        if one != other:
            raise UserError(f"{kind} gives maps whose strides change with the image; choose another encoder")
        return _facts(one, multiple)
    reason: Exception | None = None
    for size in natives:
        try:
            return _facts(_maps(encoder, like, size, size), size, only=size)
        except (*REFUSALS, _NoFit) as error:
            reason = error
    raise UserError(f"{kind} gives no maps that fit an image ({_first_words(reason)}); choose another encoder")


def _facts(maps: list[tuple[int, int]], multiple: int, only: int | None = None) -> EncoderFacts:
    strides, channels = (tuple(column) for column in zip(*maps, strict=True))
    return EncoderFacts(len(set(strides)) == 1, strides, channels, max(multiple, *strides), only)


def _maps(encoder: nn.Module, like: Tensor, height: int, width: int) -> list[tuple[int, int]]:
    """(stride, channels) of each map of an image of that size."""
    image = torch.zeros(1, 3, height, width, device=like.device, dtype=like.dtype)
    found = []
    for cells in encoder.forward_intermediates(image, intermediates_only=True):
        rows, columns = cells.shape[-2:]
        stride = height // rows
        if (rows * stride, columns * stride) != (height, width):
            raise _NoFit(f"an image of {height} x {width} pixels gives a map of {rows} x {columns} cells")
        found.append((stride, cells.shape[1]))
    return found


def _first_words(error: Exception) -> str:
    """The first sentence of a model's own message."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.split(r"[.!?;](?: |$)", line)[0][:MESSAGE]


def _claimed_stride(encoder: nn.Module) -> int:
    """The largest stride by timm's description, from which the search starts."""
    stages: Any = getattr(encoder, "feature_info", None) or [{"reduction": 32}]
    return max(stage["reduction"] for stage in stages)


def _native_sizes(encoder: nn.Module) -> list[int]:
    """Pixels per side of the images that the encoder may be made for: its parts' own statements, then timm's."""
    stated = [getattr(module, "img_size", None) for module in encoder.modules()]
    sizes = [size[0] if isinstance(size, tuple | list) else size for size in stated if size]
    return list(dict.fromkeys([*sizes, encoder.pretrained_cfg["input_size"][-1]]))


def check_pyramid(name: str, facts: EncoderFacts) -> None:
    """Require that an encoder can feed four maps for images of any size.

    Raises:
        UserError: an encoder of one image size; a hierarchical one with fewer than four stages.
    """
    if facts.only is not None:
        raise UserError(
            f"{name} takes images of {facts.only} x {facts.only} pixels only, and dense tasks need any size; choose "
            "another encoder"
        )
    if not facts.plain and len(facts.stages) < 4:
        strides = ", ".join(str(facts.strides[i]) for i in facts.stages)
        raise UserError(
            f"{name} has {len(facts.stages)} stages (strides {strides}), and dense tasks need four; choose another "
            "encoder"
        )
