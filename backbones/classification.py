"""Training of image classifiers as DeiT, BEiT and MAE fine-tune: erasing, mixup, cutmix and smoothed labels, by timm.

RandAugment belongs to the data, stochastic depth to the encoder.
"""

from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor, nn


class ClassificationLoss(nn.Module):
    """What is done to a batch before the network, and the loss after it.

    Args:
        num_classes: number of labels.
        smoothing: label smoothing.
        mixup, cutmix: alpha of either; one of them is drawn for each batch, none if both are 0. DeiT: 0.8 and 1.0.
        erasing: probability of noise in a random rectangle of an image, before mixing. DeiT: 0.25.
    """

    def __init__(
        self, num_classes: int, smoothing: float = 0.0, mixup: float = 0.0, cutmix: float = 0.0, erasing: float = 0.0
    ) -> None:
        super().__init__()
        self.mix, self.erasing = None, erasing
        if mixup or cutmix:
            # draws from numpy's global generator, which the training loop seeds for each iteration
            self.mix = Mixup(mixup, cutmix, label_smoothing=smoothing, num_classes=num_classes)
        self.criterion = SoftTargetCrossEntropy() if self.mix else LabelSmoothingCrossEntropy(smoothing)

    def prepare(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images [B, 3, H, W], labels [B] -> images, and labels or, of mixed images, rows [B, classes].

        Mixing needs an even B.
        """
        if self.erasing:
            # draws from Python's generator and torch's, which the training loop seeds too
            images = RandomErasing(self.erasing, mode="pixel", device=images.device)(images)
        return self.mix(images, labels) if self.mix is not None else (images, labels)

    def forward(self, scores: Tensor, labels: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Scores [B, classes] -> {"loss_class"}; without mixing also {"accuracy"} in %."""
        found = {"loss_class": self.criterion(scores, targets)}
        if self.mix is None:
            found["accuracy"] = 100 * (scores.detach().argmax(dim=1) == labels).float().mean()
        return found
