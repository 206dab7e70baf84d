"""Class folders as mmengine's data loaders read them, and the accuracies of a test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS
from PIL import Image
from timm.data import create_transform
from torch.utils.data import Dataset

from backbones.towers import to_square
from datasets.class_folders import folder_images
from datasets.images import read_rgb
from recognition.evaluation import Answer, accuracies
from recognition.intervals import resamples


@DATASETS.register_module()
class LabelledFolder(Dataset):
    """A folder per class; classes sorted by name are labels 0, 1, ...

    An item is {"inputs": uint8 [3, size, size], "data_samples": label}.

    Args:
        root: folder of class folders.
        size: side of the images in pixels.
        transform: arguments of `timm.data.create_transform`: a random crop and flip, RandAugment; None for tests.
        short: in tests, the length of an image's short side before its centre is cut out; `size` by default.

    Raises:
        UserError: no such folder, a class folder without a training image, or an image that cannot be read.
    """

    def __init__(
        self, root: str | Path, size: int, transform: dict[str, Any] | None = None, short: int | None = None
    ) -> None:
        self.files, self.classes = folder_images(root, to_learn=transform is not None)
        self.size, self.short = size, short
        self.transform = None
        if transform is not None:
            self.transform = create_transform(size, is_training=True, normalize=False, **transform)

    @property
    def metainfo(self) -> dict[str, Any]:
        """What mmengine hands to the evaluator."""
        return {"classes": self.classes}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, label = self.files[index]
        image = read_rgb(path)
        if self.transform is not None:
            pixels = self.transform(Image.fromarray(image))
        else:
            pixels = to_square(image, self.size, self.short)
        return {"inputs": pixels, "data_samples": label}


@METRICS.register_module()
class Accuracy(BaseMetric):
    """top1, mean_per_class and, of more than five classes, top5 as shares of 1, with <name>_low, _high and _chance."""

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Take a batch's predictions: {"nearest": best classes [k], "label": scalar} of each image."""
        self.results += [(sample["nearest"], sample["label"]) for sample in data_samples]

    def compute_metrics(self, results: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
        """Return the measures of all images."""
        nearest, truth = (torch.stack(column) for column in zip(*results, strict=True))
        answer = Answer(nearest, truth, len(self.dataset_meta["classes"]))
        found = {}
        for measure in accuracies("", [answer], resamples(len(truth))):
            found[measure.name] = measure.value / 100
            for bound in ("low", "high", "chance"):
                found[f"{measure.name}_{bound}"] = getattr(measure, bound) / 100
        return found
