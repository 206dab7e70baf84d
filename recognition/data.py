"""Test sets of image-level tasks: labelled images, folders of classes, and images with captions."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.errors import UserError
from pretrain.samples import CorruptSample, decode_image
from pretrain.shards import IMAGES, ShardReader, load_index, read_captions, texts_of


def attribute_images(root: str | Path, file: str) -> list[tuple[Path, dict[str, str]]]:
    """The images that a JSON file names: {"images": [{"file": path below root, NAME: word, ...}, ...]}.

    Returns: (image file, {NAME: word}) of each.

    Raises:
        UserError: no such file, or one of another form.
    """
    path = Path(root, file)
    try:
        entries = json.loads(path.read_text())["images"]
        found = [(Path(root, entry["file"]), {k: v for k, v in entry.items() if k != "file"}) for entry in entries]
    except OSError as error:
        raise UserError(f"labels {path} cannot be read ({error.strerror}): check root and labels") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} lists no images with file and labels ({error!r}): see recognition/data.py") from None
    if not found:
        raise UserError(f"{path} lists no image: check root and labels")
    return found


def folder_images(root: str | Path) -> tuple[list[tuple[Path, int]], list[str]]:
    """A folder per class -> ((image file, class) of each image, class names), both in the order of the names.

    Raises:
        UserError: no such folder, or one without a class folder that holds an image.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"there is no folder of classes {root}: check root and split in the data section")
    names = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    found = [
        (path, number)
        for number, name in enumerate(names)
        for path in sorted((root / name).iterdir())
        if path.suffix.lower().removeprefix(".") in IMAGES
    ]
    if not found:
        raise UserError(f"{root} has no class folder with images of type {', '.join(IMAGES)}: check root and split")
    return found, names


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
            except ValueError as error:
                raise UserError(f"{self.reader.name(sample)}: its JSON is damaged ({error}); fetch it again") from None
            texts = [text for kind in texts_of(found, captions) for text in kind][:most]
            if not texts:
                raise UserError(
                    f"{self.reader.name(sample)} has no caption {captions!r}: name one that all images have"
                )
            self.texts += texts
            self.owner += [sample] * len(texts)

    def __len__(self) -> int:
        return len(self.reader.index.keys)

    def images(self) -> Iterator[np.ndarray]:
        """RGB images, uint8 [H, W, 3]. UserError names one that cannot be decoded."""
        for sample in range(len(self)):
            try:
                yield decode_image(self.reader.read(sample, 0))
            except CorruptSample as error:
                raise UserError(f"{self.reader.name(sample)} cannot be used ({error}); fetch it again") from None
