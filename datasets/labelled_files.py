"""Images and their classes in three arrays, for sets of any size.

A list of paths is an object for each image, and every worker that looks at one writes its count of references: page by
page each of them gets a copy of the whole list. Arrays are only read, so all workers share them.
"""

import os
from array import array
from collections.abc import Iterable, Sequence

import numpy as np


class LabelledFiles(Sequence):
    """(path, label) of image files, read like a list of such pairs; 12 bytes an image and those of its path.

    Args:
        found: paths and labels, from 0.
    """

    def __init__(self, found: Iterable[tuple[str | os.PathLike, int]]) -> None:
        text, ends, labels = bytearray(), array("q"), array("i")
        for path, label in found:
            text += os.fsencode(path)
            ends.append(len(text))
            labels.append(label)
        self.text = np.frombuffer(bytes(text), np.uint8)
        self.ends = np.array(ends, np.int64)
        self.labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> tuple[str, int]:
        place = range(len(self))[index]
        begin = self.ends[place - 1] if place else 0
        return os.fsdecode(self.text[begin : self.ends[place]].tobytes()), int(self.labels[place])
