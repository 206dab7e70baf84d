"""Image files: are they whole, and how large are they?"""

import os
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from datasets.images import read_bgr

ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # what a whole file of the format ends in
TAIL = 64  # bytes in which the end is looked for: some writers pad


def image_size(path: str, decode: Callable[[str], np.ndarray] = read_bgr) -> tuple[int, int]:
    """(height, width) of an image file by its header; a file without its format's end is decoded in full.

    Args:
        decode: what training decodes the file with, path -> [H, W, 3]; it judges files that look damaged.

    Raises:
        UserError: the file is missing, damaged or cut short (of `read_bgr`; otherwise what `decode` raises).
    """
    try:
        with open(path, "rb") as handle, Image.open(handle) as image:
            (width, height), kind = image.size, image.format
            handle.seek(-min(TAIL, os.fstat(handle.fileno()).st_size), os.SEEK_END)
            tail = handle.read()
    except (OSError, SyntaxError, ValueError):  # Pillow raises all three on damaged files
        return decode(path).shape[:2]
    if kind in ENDS and ENDS[kind] in tail:
        return height, width
    return decode(path).shape[:2]


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
