"""Classifiers on a checkpoint's encoder as mmengine trains them: fine-tuning, and probes on augmented images."""

from typing import Any, Literal

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import Tensor, nn

from backbones.classification import ClassificationLoss
from datasets.class_folders import class_names
from engine.errors import UserError
from recognition.probes import build_optimizer, build_probe


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """An encoder, a head and the loss.

    Args:
        backbone: config of a `backbones.PooledEncoder`.
        num_classes: number of labels; "<data>" is filled from the class folders by `fill`.
        head: "linear", "plain" or "attentive": see `recognition.probes`; "fresh": a linear layer of weights N(0, 2e-5)
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


def fill(cfg: Config, meta: dict[str, Any]) -> None:
    """Fill what only the data and the checkpoint can tell: the classes, and the images' size where the data state none.

    Args:
        cfg: with an encoder bound to it, once the data are there.
        meta: the encoder's `checkpoint.json`.

    Raises:
        UserError: training, validation and test folders that differ in their classes.
    """
    parts = [cfg.train_dataloader.dataset, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    names = [class_names(part.root) for part in parts]
    for part, found in zip(parts, names, strict=True):
        if found != names[0]:
            raise UserError(f"{parts[0].root} and {part.root} have other class folders: make them the same")
    cfg.model.num_classes = len(names[0])
    size = cfg.data.get("size") or (meta["image"]["size"],) * 2
    if not isinstance(size, list | tuple) or len(size) != 2 or len({*size}) > 1 or not isinstance(size[0], int):
        raise UserError(f"data set {cfg.data.name!r}: images of classifiers are square, size=(224, 224), not {size!r}")
    cfg.data.size = tuple(size)
    for part in parts:
        part.size = cfg.data.size[0]
