"""Image-text shards and image folders behind one interface.

An item is {"image": uint8 [3, size, size], "index": int} with "tokens" int64 [context] where captions are asked for and
"label" int where there is one. Augmentation draws from numpy's global generator, which the data order seeds for each
(seed, epoch, index), so an item does not depend on the process that makes it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import DATASETS, FUNCTIONS
from torch.utils.data import Dataset

from engine.errors import UserError
from pretrain.augment import RandomCrop
from pretrain.shards import IMAGES, ShardReader, load_index, read_captions
from pretrain.text import END, tokenize

END_MARKS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8": b"\xff\xd9"}


class CorruptSample(Exception):
    """A sample's bytes cannot be used; the message says why."""


def decode_image(data: bytes | None) -> np.ndarray:
    """Encoded image -> uint8 RGB [H, W, 3]. Raises CorruptSample, also for a file cut short that still decodes."""
    if not data:
        raise CorruptSample("no image")
    for start, end in END_MARKS.items():
        if data.startswith(start) and end not in data[-64:]:
            raise CorruptSample("image cut short")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise CorruptSample("not an image")
    return image


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """[H, W, 3] -> [3, H, W], contiguous."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


class PretrainDataset(Dataset):
    """What the data sets share: cropping, and the treatment of corrupt samples.

    A corrupt sample is replaced by the next good index under the same random state and named in `corrupt_log`; the run
    ends once such samples are more than `max_corrupt` of all.

    Args:
        size: side of the images in pixels.
        augment: arguments of RandomCrop (scale, ratio, flip).
        name: the data's name in checkpoints.
        corrupt_log: file that lists corrupt samples; `pretrain.complete` puts it into the run's folder.
        max_corrupt: largest share of corrupt samples.
    """

    def __init__(
        self,
        size: int,
        augment: dict[str, Any] | None = None,
        name: str = "scenes",
        corrupt_log: str | None = None,
        max_corrupt: float = 0.001,
    ) -> None:
        self.size, self.name = size, name
        self.crop = RandomCrop(size, **(augment or {}))
        self.corrupt_log = Path(corrupt_log) if corrupt_log else None
        self.max_corrupt = max_corrupt
        self.corrupt: dict[int, str] = {}

    def load(self, index: int) -> dict[str, Any]:
        """Make item `index`; raise CorruptSample if its bytes cannot be used."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        """Where sample `index` lies, for messages."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Any]:
        for candidate in range(index, index + len(self)):
            candidate %= len(self)
            if candidate in self.corrupt:
                continue
            try:
                return self.load(candidate)
            except CorruptSample as error:
                self.note_corrupt(candidate, str(error))
        raise UserError(f"every sample of the data set {self.name} is corrupt, first {self.where(0)}")

    def note_corrupt(self, index: int, reason: str) -> None:
        """Remember and name a corrupt sample; UserError once there are too many, those of other workers included."""
        self.corrupt[index] = f"{self.where(index)}\t{reason}"
        named = set(self.corrupt.values())
        if self.corrupt_log is not None:
            if self.corrupt_log.is_file():
                named |= set(self.corrupt_log.read_text().splitlines())
            if self.corrupt[index] not in (self.corrupt_log.read_text() if self.corrupt_log.is_file() else ""):
                self.corrupt_log.parent.mkdir(parents=True, exist_ok=True)
                with open(self.corrupt_log, "a") as handle:  # one short write: whole lines, whoever appends
                    handle.write(self.corrupt[index] + "\n")
        if len(named) > self.max_corrupt * len(self):
            raise UserError(
                f"{len(named)} of {len(self)} samples are corrupt, more than {self.max_corrupt:.1%}; the last is "
                f"{self.where(index)} ({reason}), all are in {self.corrupt_log}: repair the data, or raise "
                "train_dataloader.dataset.max_corrupt"
            )


@DATASETS.register_module()
class ImageTextShards(PretrainDataset):
    """Random access into WebDataset / img2dataset tar shards (KEY.png|jpg|webp with KEY.txt and/or KEY.json).

    Args:
        root: folder of .tar files; pattern: which of them.
        captions: which caption: "noisy" or "txt" (the alt text of KEY.txt) or a name in the JSON's "captions", such as
            "aligned", "rewritten", "enriched"; None for images only.
        context: length of the token rows.
        size, augment, name, corrupt_log, max_corrupt: see PretrainDataset.
    """

    def __init__(
        self,
        root: str,
        size: int,
        captions: str | None = None,
        context: int = 77,
        pattern: str = "*.tar",
        **kwargs: Any,
    ) -> None:
        super().__init__(size, **kwargs)
        self.reader = ShardReader(load_index(root, pattern))
        self.captions, self.context = captions, context
        if captions is not None:
            self.check_captions(root)

    def check_captions(self, root: str) -> None:
        """Raise UserError if the first sample has no caption of the chosen kind."""
        found = read_captions(self.reader.read(0, 1), self.reader.read(0, 2))
        if self.captions not in found:
            raise UserError(
                f"the shards in {root} have no caption {self.captions!r} but {', '.join(sorted(found)) or 'none'}: "
                "choose one with --cfg-options captions=NAME"
            )

    def __len__(self) -> int:
        return len(self.reader.index.shard)

    def where(self, index: int) -> str:
        """Shard and key."""
        return self.reader.name(index)

    def load(self, index: int) -> dict[str, Any]:
        """Read, decode, crop, tokenize."""
        image = decode_image(self.reader.read(index, 0))
        item: dict[str, Any] = {"index": index}
        if self.captions is not None:
            try:
                caption = read_captions(self.reader.read(index, 1), self.reader.read(index, 2)).get(self.captions)
            except ValueError:
                raise CorruptSample("damaged JSON") from None
            if caption is None:
                raise CorruptSample(f"no caption {self.captions!r}")
            item["tokens"] = torch.from_numpy(tokenize(caption, self.context))
        item["image"] = to_tensor(self.crop(image))
        return item


@DATASETS.register_module()
class ImageFolder(PretrainDataset):
    """A folder per class; classes sorted by name are labels 0, 1, ...

    Args:
        root: folder of class folders.
        transform: optional arguments of `timm.data.create_transform` (RandAugment, random erasing) instead of the crop.
        size, augment, name, corrupt_log, max_corrupt: see PretrainDataset.
    """

    def __init__(self, root: str, size: int, transform: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self.classes, self.files = self.scan(Path(root))
        self.transform: Callable | None = None
        if transform is not None:
            from timm.data import create_transform

            self.transform = create_transform(size, is_training=True, normalize=False, **transform)

    @staticmethod
    def scan(root: Path) -> tuple[list[str], list[tuple[str, int]]]:
        """Class names and (path, label) of every image, sorted."""
        if not root.is_dir():
            raise UserError(f"there is no image folder {root}: check root in the data section")
        classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        files = [
            (entry.path, label)
            for label, name in enumerate(classes)
            for entry in sorted(os.scandir(root / name), key=lambda entry: entry.name)
            if entry.name.rpartition(".")[2].lower() in IMAGES
        ]
        if not files:
            raise UserError(f"no image of type {', '.join(IMAGES)} in the class folders of {root}")
        return classes, files

    def __len__(self) -> int:
        return len(self.files)

    def where(self, index: int) -> str:
        """The file."""
        return self.files[index][0]

    def load(self, index: int) -> dict[str, Any]:
        """Read, decode, augment."""
        path, label = self.files[index]
        image = decode_image(Path(path).read_bytes())
        item: dict[str, Any] = {"index": index, "label": label}
        if self.transform is None:
            item["image"] = to_tensor(self.crop(image))
        else:
            from PIL import Image

            item["image"] = self.transform(Image.fromarray(image))
        return item


@FUNCTIONS.register_module()
def pretrain_collate(items: list[dict[str, Any]]) -> dict[str, dict[str, torch.Tensor]]:
    """Stack items into {"inputs": {...}}; tokens [B, context] are cut to the longest caption of the batch.

    Cutting happens here, on the host, so that the model never has to ask the device for a length.
    """
    batch = {}
    for key, first in items[0].items():
        values = [item[key] for item in items]
        batch[key] = torch.stack(values) if isinstance(first, torch.Tensor) else torch.tensor(values)
    if "tokens" in batch:
        longest = int((batch["tokens"] == END).int().argmax(dim=1).max()) + 1
        batch["tokens"] = batch["tokens"][:, :longest].contiguous()
    return {"inputs": batch}
