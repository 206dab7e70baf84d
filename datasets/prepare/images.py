"""Image files: are they whole, and how large are they?"""

import os
from collections.abc import Sequence

from datasets.headers import JPEG, PNG
from datasets.images import LARGEST, header_of, read_rgb
from engine.errors import UserError

ENDS = {JPEG: b"\xff\xd9", PNG: b"IEND\xaeB`\x82"}  # what a whole file that begins so ends in
TAIL = 64  # bytes in which the end is looked for: some writers pad


def image_size(path: str) -> tuple[int, int]:
    """(height, width) of an image file as it is shown, by its header.

    A file that is too large or has not its format's end in its last bytes is decoded in full, and so are files of other
    formats than JPEG and PNG: the reader judges them.

    Raises:
        UserError: the file is missing, or what `datasets.images.decode_image` refuses.
    """
    header = header_of(path)
    with open(path, "rb") as handle:
        start = handle.read(len(PNG))
        handle.seek(-min(TAIL, os.fstat(handle.fileno()).st_size), os.SEEK_END)
        tail = handle.read()
    whole = any(start.startswith(mark) and end in tail for mark, end in ENDS.items())
    if whole and 0 < header.size[0] * header.size[1] <= LARGEST:
        return header.shown
    return read_rgb(path).shape[:2]


def try_size(path: str) -> tuple[int, int] | str:
    """(height, width) of an image as it is shown, or the sentence that says why it cannot be read."""
    try:
        return image_size(path)
    except UserError as error:
        return str(error)


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
