"""Test sets of images with captions, from tar shards."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.images import CorruptSample, decode_image
from datasets.shards import ShardReader, load_index, read_captions, texts_of
from engine.errors import UserError


class CaptionedImages:
    """Images with one or more captions each, from tar shards (WebDataset, img2dataset).

    Args:
        root: folder of the shards. pattern: which of them.
        captions: a name in the JSON's "captions", which may stand for a list, or "txt"; as in pretraining.
        most: how many captions of an image are used, the first ones (COCO: 5 of those with more).

    Attributes: texts, the captions of all images; owner, the image of each text.

    Raises:
        UserError: no shards, or an image without such a caption.
    """

    def __init__(self, root: str | Path, pattern: str, captions: str, most: int = 5) -> None:
        self.reader = ShardReader(load_index(root, pattern))
        self.texts: list[str] = []
        self.owner: list[int] = []
        for sample in range(len(self)):
            try:
                found = read_captions(self.reader.read(sample, 1), self.reader.read(sample, 2))
            except CorruptSample as error:
                raise UserError(f"{self.reader.name(sample)} cannot be used ({error}); fetch it again") from None
            texts = [text for kind in texts_of(found, captions) for text in kind][:most]
            if not texts:
                raise UserError(
                    f"{self.reader.name(sample)} has no caption {captions!r}: name one that all images have"
                )
            self.texts += texts
            self.owner += [sample] * len(texts)

    def __len__(self) -> int:
        return len(self.reader)

    def images(self) -> Iterator[np.ndarray]:
        """RGB images, uint8 [H, W, 3]. UserError names one that cannot be decoded."""
        for sample in range(len(self)):
            try:
                yield decode_image(self.reader.read(sample, 0))
            except CorruptSample as error:
                raise UserError(f"{self.reader.name(sample)} cannot be used ({error}); fetch it again") from None
