"""Images of one split that resemble an image of another: copies, other encodings, neighbouring frames of a film.

Two images are twins where at most BITS of the 64 comparisons of neighbours in their 9 x 8 grey thumbnails differ (a
difference hash) and the thumbnails themselves differ by LEVELS grey levels at most on average. Images of nearly one
grey are left out. Mirrored and cropped copies are not found.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from datasets.prepare.findings import Findings
from datasets.prepare.images import THUMB, Look, constants

BITS, LEVELS = 4, 4.0
FLAT = 2.0  # grey levels; an image whose thumbnail deviates less from its mean shows nothing to compare
ROWS = 512  # images compared with all others at once


def note_twins(looks: Mapping[str, Sequence[tuple[str, Look]]], findings: Findings) -> None:
    """Note each image of a later split that has a twin in an earlier one.

    Args:
        looks: split -> (file, look) of each image; results on images that were learnt from say little.
    """
    for first, second in combinations(looks, 2):
        for one, other in twins([look for _, look in looks[first]], [look for _, look in looks[second]]):
            pair = f"{looks[second][other][0]} ({second}) and {looks[first][one][0]} ({first})"
            findings.note("image that resembles one of another split", pair)


def compare_splits(looks: Mapping[str, Sequence[tuple[str, Look]]], train: str, findings: Findings) -> None:
    """Keep the colours of the training images, and note twins across splits; `looks` as in `note_twins`."""
    keep_colours(train, [look for _, look in looks.get(train, ())], findings)
    note_twins(looks, findings)


def keep_colours(what: str, looks: Sequence[Look], findings: Findings) -> None:
    """Keep and show mean and deviation of some images' colours."""
    findings.image = constants(looks)
    if findings.image:
        mean, std = (" ".join(f"{value:.3f}" for value in findings.image[key]) for key in ("mean", "std"))
        findings.lines.append(("colours", f"of {what} images, in 0 to 1: mean {mean}, std {std}"))


def twins(first: Sequence[Look], second: Sequence[Look]) -> list[tuple[int, int]]:
    """(place in `first`, place in `second`) of each image of `second` with a twin in `first`, its nearest."""
    if not first or not second:
        return []
    thumbs, others = (np.array([np.frombuffer(look.thumb, np.uint8) for look in looks]) for looks in (first, second))
    marks, found = difference_hash(thumbs), []
    for start in range(0, len(others), ROWS):
        part = others[start : start + ROWS]
        apart = np.bitwise_count(difference_hash(part)[:, None] ^ marks)  # [rows, first]
        for row, column in np.argwhere(apart <= BITS):
            levels = np.abs(part[row].astype(int) - thumbs[column]).mean()
            if levels <= LEVELS and part[row].std() >= FLAT:
                found.append((start + int(row), float(levels), int(column)))
    nearest = {row: column for row, _, column in sorted(found, reverse=True)}
    return [(column, row) for row, column in sorted(nearest.items())]


def difference_hash(thumbs: np.ndarray) -> np.ndarray:
    """Grey thumbnails, uint8 [n, rows x columns] -> uint64 [n]: a bit where a pixel is brighter than its left one."""
    columns, rows = THUMB
    grey = thumbs.reshape(-1, rows, columns)
    bits = (grey[:, :, 1:] > grey[:, :, :-1]).reshape(len(grey), -1)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()
