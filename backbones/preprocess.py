"""Normalisation of images on the device, by the statistics that a checkpoint carries."""

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@MODELS.register_module()
class ImagePreprocessor(BaseDataPreprocessor):
    """Move a batch to the device and normalise its images there.

    Args:
        mean, std: per channel, for images in [0, 1].

    A batch is {"inputs": {"image": uint8, or float in [0, 1], [B, 3, H, W] or [B, views, 3, H, W], ...}}. Every tensor
    whose name begins with "image" is normalised; the others pass unchanged.
    """

    def __init__(
        self, mean: tuple[float, float, float] = IMAGENET_MEAN, std: tuple[float, float, float] = IMAGENET_STD
    ) -> None:
        super().__init__(non_blocking=True)
        self.mean, self.std = list(mean), list(std)
        # (x / 255 - mean) / std = x * scale + shift, one pass over the batch
        std_tensor = torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / std_tensor, persistent=False)
        self.register_buffer("shift", -torch.tensor(mean).view(1, 3, 1, 1) / std_tensor, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return the batch on the device, its images as normalised float32."""
        inputs = self.cast_data(data["inputs"])
        return {"inputs": {k: self.normalise(v) if k.startswith("image") else v for k, v in inputs.items()}}

    def normalise(self, image: torch.Tensor) -> torch.Tensor:
        """Images [..., 3, H, W], uint8 or in [0, 1] -> normalised float32."""
        scale = self.scale / 255 if image.dtype == torch.uint8 else self.scale
        return torch.addcmul(self.shift, image.to(scale.dtype), scale)
