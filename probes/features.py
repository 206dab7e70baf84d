"""The maps of a list of images, computed once per encoder, data split, size and taps, and kept beside the checkpoint.

How they are kept: `backbones/feature_store.py`; here in files of up to CHUNK images, so that a large data set is mapped
from the disk and never lies in memory as a whole. Numbers are stored as float16, whose step of 2^-11 is below what
another batch size changes, or as float32 where an encoder's exceed float16's range.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from backbones.feature_store import fingerprint, stored
from backbones.patch_maps import PatchMaps, batch_of
from backbones.towers import finite
from datasets.parallel import each
from probes.data import image

CHUNK = 1024  # images of one file


class Rows:
    """Maps of N images [D, h, w] in chunks of CHUNK, as one sequence."""

    def __init__(self, chunks: Sequence[Tensor]) -> None:
        self.chunks = chunks

    def __len__(self) -> int:
        return sum(map(len, self.chunks))

    @property
    def shape(self) -> torch.Size:
        """(D, h, w)."""
        return self.chunks[0].shape[1:]

    def take(self, numbers: Sequence[int]) -> Tensor:
        """The maps of these images, float32 [len(numbers), D, h, w]."""
        return torch.stack([self.chunks[k // CHUNK][k % CHUNK] for k in numbers]).float()

    def blocks(self, images: int) -> Iterator[Tensor]:
        """All maps in order, float32 [up to `images`, D, h, w] at a time."""
        yield from (part.float() for chunk in self.chunks for part in chunk.split(images))


def stored_maps(part: PatchMaps, files: Sequence[Path], size: tuple[int, int], taps: str) -> Rows:
    """The maps of image files at a size (height, width), from the store where they are there.

    Raises:
        UserError: an image that cannot be read, or maps that are not finite.
    """
    about = [part.meta["encoder"], part.meta["image"], list(size), taps]
    chunks = []
    for chosen in (files[start : start + CHUNK] for start in range(0, len(files), CHUNK)):
        name = fingerprint(part.weights, about, part.device, batch_of(size), chosen)
        chunks.append(stored(part.store, f"maps-{name}", partial(computed, part, chosen, size, taps)))
    return Rows(chunks)


def computed(part: PatchMaps, files: Sequence[Path], size: tuple[int, int], taps: str) -> Tensor:
    """The maps [N, D, h, w] of image files by the encoder, float16 where they fit."""
    found, waiting = [], []
    images = each(lambda file: torch.from_numpy(image(file, size)), files, "features", "img")
    for number, pixels in enumerate(images, 1):
        waiting.append(pixels.permute(2, 0, 1))
        if len(waiting) == batch_of(size) or number == len(files):
            found.append(narrow(finite(part.maps(torch.stack(waiting), taps), part.meta)).cpu())
            waiting.clear()
    whole = {maps.dtype for maps in found} == {torch.float16}
    return torch.cat(found if whole else [maps.float() for maps in found])


def narrow(maps: Tensor) -> Tensor:
    """As float16 where all numbers fit, else as they are."""
    half = maps.half()
    return half if half.isfinite().all() else maps
