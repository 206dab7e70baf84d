"""Supervised classification, the DeiT recipe (Touvron et al. 2021) through timm's erasing, mixup, cutmix and losses.

RandAugment belongs to the data (`transform` of `pretrain.data.ImageFolder`), stochastic depth to the encoder's kwargs.
"""

from typing import Any

from mmengine.registry import MODELS
from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor, nn

from pretrain.base import PretrainMethod


@MODELS.register_module()
class Supervised(PretrainMethod):
    """Cross-entropy on image labels.

    Args:
        encoder: see PretrainMethod; drop_path_rate belongs to its kwargs.
        num_classes: number of labels; None is filled from the class folders.
        smoothing: label smoothing.
        mixup, cutmix: alpha of either; one of them is drawn for each batch, none if both are 0. DeiT: 0.8 and 1.0.
        erasing: probability of noise in a random rectangle of an image, before mixing. DeiT: 0.25.
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
        self.mix, self.erasing = None, erasing
        if mixup or cutmix:
            # draws from numpy's global generator, which the training loop seeds for each iteration
            self.mix = Mixup(mixup, cutmix, label_smoothing=smoothing, num_classes=num_classes)
        self.criterion = SoftTargetCrossEntropy() if self.mix else LabelSmoothingCrossEntropy(smoothing)

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] and label [B] -> the loss; without mixing also the accuracy in %; mixing needs even B."""
        images, labels = inputs["image"], inputs["label"]
        if self.erasing:
            # of normalised images; draws from Python's generator and torch's, which the training loop seeds too
            images = RandomErasing(self.erasing, mode="pixel", device=images.device)(images)
        if self.mix is not None:
            images, mixed = self.mix(images, labels)  # mixed: [B, classes]
            return {"loss_class": self.criterion(self.head(self.encoder(images)), mixed)}
        scores = self.head(self.encoder(images))  # [B, classes]
        accuracy = 100 * (scores.detach().argmax(dim=1) == labels).float().mean()
        return {"loss_class": self.criterion(scores, labels), "accuracy": accuracy}
