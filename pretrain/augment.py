"""Geometric augmentation with OpenCV, drawn from numpy's global generator, which the data order seeds per sample."""

import math
from typing import NamedTuple

import cv2
import numpy as np


class Window(NamedTuple):
    """A crop in pixels and whether to mirror it."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


class RandomCrop:
    """Random resized crop and mirror (torchvision's RandomResizedCrop rule): one draw, applied to any aligned maps.

    Args:
        size: side of the square result in pixels.
        scale: range of the crop's share of the image's area.
        ratio: range of width / height, log-uniform.
        flip: probability of mirroring left and right.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
    ) -> None:
        self.size, self.scale, self.flip = size, tuple(scale), flip
        self.log_ratio = (math.log(ratio[0]), math.log(ratio[1]))

    def draw(self, height: int, width: int) -> Window:
        """Draw a window of an image; after ten misfits, the largest central one of an allowed shape."""
        flip = bool(np.random.random() < self.flip)
        for _ in range(10):
            area = height * width * np.random.uniform(*self.scale)
            aspect = math.exp(np.random.uniform(*self.log_ratio))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top, left = np.random.randint(0, height - h + 1), np.random.randint(0, width - w + 1)
                return Window(int(top), int(left), h, w, flip)
        low, high = math.exp(self.log_ratio[0]), math.exp(self.log_ratio[1])
        h, w = min(height, round(width / low)), min(width, round(height * high))
        return Window((height - h) // 2, (width - w) // 2, h, w, flip)

    def apply(self, image: np.ndarray, window: Window, nearest: bool = False) -> np.ndarray:
        """Image [H, W, ...] -> its window at [size, size, ...]; `nearest` for labels.

        Shrinking averages areas, enlarging is bicubic.
        """
        crop = image[window.top : window.top + window.height, window.left : window.left + window.width]
        shrinks = window.height > self.size and window.width > self.size
        method = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        if crop.shape[:2] != (self.size, self.size):
            crop = cv2.resize(crop, (self.size, self.size), interpolation=method)
        return crop[:, ::-1] if window.flip else crop

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Draw a window and apply it."""
        return self.apply(image, self.draw(*image.shape[:2]))
