"""Image files as training will decode them: whole or not, how large, of which colours, and what they resemble."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from datasets.images import read_rgb
from engine.errors import UserError

THUMB = (9, 8)  # columns and rows of the grey thumbnail, for 8 x 8 differences of neighbours


class Look(NamedTuple):
    """One image as it is shown.

    size: (height, width); mean, square: of R, G, B in 0 .. 1, and of their squares; thumb: its grey thumbnail, row by
    row, 8 bits each.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    square: tuple[float, float, float]
    thumb: bytes


def look_at_image(path: str) -> Look:
    """Decode an image as training does. UserError where that refuses it."""
    return look_of(read_rgb(path))


def look_of(image: np.ndarray) -> Look:
    """The look of decoded pixels, uint8 RGB [H, W, 3]."""
    mean, deviation = (value.ravel() / 255 for value in cv2.meanStdDev(image))
    thumb = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), THUMB, interpolation=cv2.INTER_AREA)
    return Look(image.shape[:2], tuple(mean.tolist()), tuple((mean**2 + deviation**2).tolist()), thumb.tobytes())


def try_look(path: str) -> Look | str:
    """As `look_at_image`, or the sentence that says why it cannot be read."""
    try:
        return look_at_image(path)
    except UserError as error:
        return str(error)


def try_size(path: str) -> tuple[int, int] | str:
    """(height, width) of an image as it is shown, or the sentence that says why it cannot be read."""
    found = try_look(path)
    return found if isinstance(found, str) else found.size


def constants(looks: Iterable[Look]) -> dict[str, list[float]] | None:
    """{"mean", "std"} of R, G, B in 0 .. 1, each image counting alike; None of no images."""
    looks = list(looks)
    if not looks:
        return None
    mean = np.mean([look.mean for look in looks], axis=0)
    spread = np.mean([look.square for look in looks], axis=0) - mean**2
    return {"mean": mean.round(4).tolist(), "std": np.sqrt(np.maximum(spread, 0)).round(4).tolist()}


def sizes_text(sizes: Sequence[tuple[int, int]]) -> str:
    """The range of sizes [(height, width)] as "width x height": one, or the smallest and the largest by area."""
    low, high = min(sizes, key=lambda s: s[0] * s[1]), max(sizes, key=lambda s: s[0] * s[1])
    small, large = (f"{size[1]} x {size[0]}" for size in (low, high))
    return f"all {small}" if len(set(sizes)) == 1 else f"{small} to {large}"


def trial_size(sizes: Sequence[tuple[int, int]], short: int = 96, step: int = 32) -> tuple[int, int]:
    """(height, width) for first trials on a CPU: the middle image's proportions, `short` pixels on the shorter side."""
    height, width = sorted(sizes, key=lambda s: s[0] / s[1])[len(sizes) // 2]
    factor = short / min(height, width)
    return tuple(max(step, step * round(side * factor / step)) for side in (height, width))
