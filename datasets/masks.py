"""COCO's segmentations, held to what pycocotools' C code takes on trust: polygons and run lengths.

Polygons have few corners, for which plain Python is faster than numpy.
"""

import math
from operator import mul
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from datasets.images import turn

Mask = list | dict
Box = tuple[float, float, float, float]  # x, y, width, height


def whole_mask(mask: Any, size: tuple[int, int]) -> tuple[Mask, int]:
    """A segmentation of an image of `size` (height, width) -> its usable part, and how many polygons were left out.

    Polygons are [[x, y, x, y, ...], ...] with at least three corners, none farther from the image than its own size;
    one whole polygon is enough. A run-length mask is {"size": [height, width], "counts": list or string}.

    Raises:
        ValueError: nothing of it can be used; the message says why.
    """
    if isinstance(mask, list):
        whole = [polygon for polygon in mask if is_polygon(polygon, size)]
        if not whole:
            raise ValueError("no polygon of three corners or more as [x, y, x, y, ...] in or near its image")
        return whole, len(mask) - len(whole)
    if not isinstance(mask, dict) or "counts" not in mask or "size" not in mask:
        raise ValueError("neither polygons nor a run-length mask with size and counts")
    if mask["size"] != list(size):
        raise ValueError(f"a run-length mask of {mask['size']} for an image of {list(size)} (height, width)")
    runs = run_lengths(mask["counts"])
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise ValueError(f"run lengths that add up to {runs.sum()}, not to {size[0] * size[1]} pixels")
    return mask, 0


def is_polygon(polygon: Any, size: tuple[int, int]) -> bool:
    """[x, y, x, y, ...], three corners or more, none farther from an image of `size` (height, width) than its size?"""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    if not {*map(type, polygon)} <= {int, float}:
        return False
    for numbers, side in ((polygon[::2], size[1]), (polygon[1::2], size[0])):
        if not (min(numbers) >= -side and max(numbers) <= 2 * side):
            return False
    return not math.isnan(sum(polygon))  # NaN passes min and max where it is not the first


def run_lengths(counts: Any) -> np.ndarray:
    """Run lengths of a mask, int64, from a list, or from COCO's string (cocoapi, maskApi.c, rleFrString).

    A character holds five bits of a number, lowest first, and a sixth that says whether more follow. From the fourth
    on, numbers are differences to the last but one.

    Raises:
        ValueError: no such list or string, or a string cut in the middle of a number.
    """
    if isinstance(counts, list):
        if not all(type(count) is int and 0 <= count < 2**32 for count in counts):
            raise ValueError("run lengths that are no whole numbers")
        return np.array(counts, np.int64)
    if not isinstance(counts, str):
        raise ValueError("a run-length mask whose counts are neither a list nor a string")
    digits = np.array([ord(character) for character in counts], np.int64) - 48
    if not digits.size or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError("a run-length string that is cut or holds other characters")
    last = (digits & 32) == 0  # of a number
    start = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    length = np.diff(np.append(start, digits.size))
    if length.max() > 7:  # more than 32 bits
        raise ValueError("a run-length string with a number of more than 32 bits")
    place = np.arange(digits.size) - np.repeat(start, length)
    numbers = np.add.reduceat((digits & 31) << (5 * place), start)
    numbers -= np.where(digits[last] & 16, 1 << (5 * length), 0)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers


def encoded(mask: Mask, size: tuple[int, int]) -> dict:
    """A whole mask as pycocotools' compressed run lengths."""
    if isinstance(mask, list):
        return coco_mask.merge(coco_mask.frPyObjects(mask, *size))
    return coco_mask.frPyObjects(mask, *size) if isinstance(mask["counts"], list) else mask


def polygon_area(mask: Mask) -> float:
    """Square pixels of the largest polygon (the shoelace formula); infinity of run lengths."""
    if not isinstance(mask, list):
        return math.inf
    return max(map(_area, mask))


def _area(polygon: list[float]) -> float:
    x, y = polygon[::2], polygon[1::2]
    return abs(sum(map(mul, x, y[1:] + y[:1])) - sum(map(mul, y, x[1:] + x[:1]))) / 2


def meets_itself(mask: Mask) -> bool:
    """Whether a polygon comes to a corner again before its end: pixels that it goes round twice are outside of it."""
    if not isinstance(mask, list):
        return False
    return any(len({*zip(polygon[::2], polygon[1::2], strict=True)}) < len(polygon) // 2 - 1 for polygon in mask)


def extent(mask: Mask) -> Box:
    """The box (x, y, width, height) around a whole mask: of its polygons' corners, or of its pixels."""
    if isinstance(mask, list):
        x, y = ([number for polygon in mask for number in polygon[first::2]] for first in (0, 1))
        left, top = min(x), min(y)
        return left, top, max(x) - left, max(y) - top
    return tuple(coco_mask.toBbox(encoded(mask, mask["size"])).tolist())


def turned_mask(mask: Mask, size: tuple[int, int], orientation: int) -> Mask:
    """A whole mask drawn on the stored pixels of `size` (height, width) -> the same on the shown image."""
    if isinstance(mask, list):
        return [turned_points(np.reshape(polygon, (-1, 2)), size, orientation).ravel().tolist() for polygon in mask]
    pixels = turn(coco_mask.decode(encoded(mask, size)), orientation)
    made = coco_mask.encode(np.asfortranarray(pixels))
    return {"size": list(made["size"]), "counts": made["counts"].decode()}


def turned_box(box: Box, size: tuple[int, int], orientation: int) -> list[float]:
    """A box (x, y, width, height) on the stored pixels of `size` (height, width) -> the same on the shown image."""
    x, y, width, height = box
    corners = turned_points(np.array([[x, y], [x + width, y + height]]), size, orientation)
    low, high = corners.min(0), corners.max(0)
    return [*low.tolist(), *(high - low).tolist()]


def turned_points(points: np.ndarray, size: tuple[int, int], orientation: int) -> np.ndarray:
    """Points [n, 2] as (x, y) on stored pixels of `size` (height, width) -> on the shown image; see `images.turn`."""
    x, y = points[:, 0], points[:, 1]
    height, width = size
    if orientation >= 5:
        x, y, height, width = y, x, width, height
    if orientation in (3, 4, 7, 8):
        y = height - y
    if orientation in (2, 3, 6, 7):
        x = width - x
    return np.stack([x, y], axis=-1)
