"""Classifiers on a checkpoint's encoder as mmengine trains them: fine-tuning, and probes on augmented images.

Importing this module registers everything of `recognition` that a configuration can name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, METRICS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from PIL import Image
from timm.data import create_transform
from torch import Tensor, nn
from torch.utils.data import Dataset

from backbones.classification import ClassificationLoss
from backbones.towers import to_square
from datasets.class_folders import class_names, folder_images
from datasets.images import read_rgb
from datasets.labelled_files import LabelledFiles
from engine.errors import UserError
from recognition.measures import Answer, accuracies
from recognition.probe import build_optimizer, build_probe


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """An encoder, a head and the loss.

    Args:
        backbone: config of a `backbones.PooledEncoder`.
        num_classes: number of labels; "<data>" is filled from the class folders by `fill`.
        head: "linear", "plain" or "attentive": see `recognition.probe`; "fresh": a linear layer of weights N(0, 2e-5)
            and bias 0 (BEiT's and MAE's fine-tuning).
        smoothing, mixup, cutmix, erasing: see `ClassificationLoss`.
        data_preprocessor: config of the preprocessor.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        num_classes: int,
        head: Literal["fresh", "linear", "plain", "attentive"] = "fresh",
        smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        erasing: float = 0.0,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        self.backbone = MODELS.build(backbone)
        (width,) = self.backbone.out_channels
        if head == "fresh":
            self.head = nn.Linear(width, num_classes)
            nn.init.trunc_normal_(self.head.weight, std=2e-5)
            nn.init.zeros_(self.head.bias)
        else:
            self.head = build_probe(head, width, num_classes)
        self.classification = ClassificationLoss(num_classes, smoothing, mixup, cutmix, erasing)

    def forward(
        self, inputs: Tensor, data_samples: Tensor, mode: Literal["loss", "predict"]
    ) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Normalised images [B, 3, H, W] and labels [B] -> losses, or of each image the five best classes."""
        if mode == "loss":
            images, targets = self.classification.prepare(inputs, data_samples)
            return self.classification(self.head(self.backbone(images)), data_samples, targets)
        scores = self.head(self.backbone(inputs))
        nearest = scores.topk(min(5, scores.shape[1]), dim=1).indices.cpu()  # [B, 5], best first
        return [{"nearest": n, "label": label} for n, label in zip(nearest, data_samples.cpu(), strict=True)]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ProbeConstructor:
    """Builds the optimizer wrapper of a probe with `build_optimizer`: optimizer=dict(type="lars" or "sgd", lr=...)."""

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        if paramwise_cfg:
            raise UserError("a probe has no layers to tell apart: remove optim_wrapper.paramwise_cfg")
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop("optimizer"))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the wrapper over the parameters that require gradients: the head's."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = build_optimizer(self.optimizer_cfg["type"], trained, self.optimizer_cfg["lr"])
        return OPTIM_WRAPPERS.build(self.wrapper_cfg, default_args={"optimizer": optimizer})


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
        found, self.classes = folder_images(root, to_learn=transform is not None)
        self.files = LabelledFiles(found)
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
        for measure in accuracies([answer]):
            found[measure.name] = measure.value / 100
            for bound in ("low", "high", "chance"):
                found[f"{measure.name}_{bound}"] = getattr(measure, bound) / 100
        return found


def fill(cfg: Config, meta: dict[str, Any]) -> None:
    """Fill what only the data and the checkpoint can tell: the classes, and the images' size where the data state none.

    Args:
        cfg: with an encoder bound to it, once the data are there.
        meta: the encoder's `checkpoint.json`.

    Raises:
        UserError: training, validation and test folders that differ in their classes, or a size that is no square's.
    """
    parts = [cfg.train_dataloader.dataset, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    names = [class_names(part.root) for part in parts]
    for part, found in zip(parts, names, strict=True):
        if found != names[0]:
            raise UserError(f"{parts[0].root} and {part.root} have other class folders: make them the same")
    cfg.model.num_classes = len(names[0])
    size = cfg.data.get("size") or (meta["image"]["size"],) * 2
    if len({*size}) > 1:
        raise UserError(f"data set {cfg.data.name!r}: images of classifiers are square, size=(224, 224), not {size!r}")
    for part in parts:
        part.size = size[0]
