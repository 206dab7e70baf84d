"""Supervised classification, the DeiT recipe (Touvron et al. 2021) through the parts of `backbones.classification`.

RandAugment belongs to the data (`transform` of `ImageFolder`), stochastic depth to the encoder's kwargs.
"""

from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.classification import ClassificationLoss
from pretrain.base import PretrainMethod


@MODELS.register_module()
class Supervised(PretrainMethod):
    """Cross-entropy on image labels.

    Args:
        encoder: see PretrainMethod; drop_path_rate belongs to its kwargs.
        num_classes: number of labels; None is filled from the class folders.
        smoothing, mixup, cutmix, erasing: see `ClassificationLoss`.
    """

    needs = frozenset({"image", "label"})

    def __init__(
        self,
        encoder: dict[str, Any],
        num_classes: int | None,
        smoothing: float = 0.1,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        erasing: float = 0.0,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, data_preprocessor)
        self.head = nn.Linear(self.encoder.num_features, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.classification = ClassificationLoss(num_classes, smoothing, mixup, cutmix, erasing)

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] and label [B] -> the loss; without mixing also the accuracy in %; mixing needs even B."""
        labels = inputs["label"]
        images, targets = self.classification.prepare(inputs["image"], labels)
        return self.classification(self.head(self.encoder(images)), labels, targets)
