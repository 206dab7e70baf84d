"""Augmentation with OpenCV, drawn from numpy's global generator, which the data order seeds per sample.

OpenCV, because torchvision's colour jitter takes 3.5 ms for an image of 64 pixels: with two views of 64 images that is
more than a training step of the small encoders.
"""

import math
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


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
        interpolation: "bilinear", "bicubic" or "lanczos", Pillow's filters, which smooth where they shrink and with
            which recipes were published; None for OpenCV's faster average of areas where the image shrinks, else
            bicubic.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        interpolation: Literal["bilinear", "bicubic", "lanczos"] | None = None,
    ) -> None:
        self.size, self.scale, self.flip = size, tuple(scale), flip
        self.filter = FILTERS[interpolation] if interpolation is not None else None
        self.log_ratio = (math.log(ratio[0]), math.log(ratio[1]))

    def draw(self, height: int, width: int) -> Window:
        """Draw a window of an image; after ten misfits, or at scale (1, 1), the largest central one allowed."""
        flip = bool(np.random.random() < self.flip)
        for _ in range(0 if self.scale == (1, 1) else 10):
            area = height * width * np.random.uniform(*self.scale)
            aspect = math.exp(np.random.uniform(*self.log_ratio))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top, left = np.random.randint(0, height - h + 1), np.random.randint(0, width - w + 1)
                return Window(int(top), int(left), h, w, flip)
        low, high = math.exp(self.log_ratio[0]), math.exp(self.log_ratio[1])
        h, w = min(height, round(width / low)), min(width, round(height * high))
        return Window((height - h) // 2, (width - w) // 2, h, w, flip)

    @property
    def fixed(self) -> bool:
        """Whether every draw from an image is the same."""
        return self.scale == (1, 1) and self.flip in (0, 1)

    def apply(self, image: np.ndarray, window: Window, nearest: bool = False) -> np.ndarray:
        """Image [H, W, ...] -> its window at [size, size, ...]; `nearest` for labels."""
        crop = image[window.top : window.top + window.height, window.left : window.left + window.width]
        shrinks = window.height > self.size and window.width > self.size
        method = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        if crop.shape[:2] != (self.size, self.size) and self.filter is not None and not nearest:
            crop = np.asarray(Image.fromarray(crop).resize((self.size, self.size), self.filter))
        elif crop.shape[:2] != (self.size, self.size):
            crop = cv2.resize(crop, (self.size, self.size), interpolation=method)
        return crop[:, ::-1] if window.flip else crop

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Draw a window and apply it."""
        return self.apply(image, self.draw(*image.shape[:2]))


class ColourJitter:
    """Photometric augmentation of the contrastive methods (SimCLR, MoCo v3, DINO), on uint8 RGB images.

    Each is drawn on its own, in this order: jitter, grey, blur, solarisation.

    Args:
        jitter: strengths of brightness, contrast, saturation (factors in [1 - x, 1 + x], order drawn) and hue (shift of
            up to x of the colour circle).
        jitter_p, grey_p, blur_p, solarise_p: probabilities.
        sigma: range of the Gaussian blur's standard deviation in pixels of a 224-pixel image; smaller images get
            proportionally less, since their content is as much smaller.
    """

    def __init__(
        self,
        jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1),
        jitter_p: float = 0.8,
        grey_p: float = 0.2,
        blur_p: float = 0.5,
        solarise_p: float = 0.0,
        sigma: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        self.jitter, self.sigma = tuple(jitter), tuple(sigma)
        self.jitter_p, self.grey_p, self.blur_p, self.solarise_p = jitter_p, grey_p, blur_p, solarise_p

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 -> the same shape and type."""
        image = np.ascontiguousarray(image)
        if np.random.random() < self.jitter_p:
            image = self.jittered(image)
        if np.random.random() < self.grey_p:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if np.random.random() < self.blur_p:
            sigma = np.random.uniform(*self.sigma) * image.shape[0] / 224
            image = cv2.GaussianBlur(image, (0, 0), max(sigma, 1e-3))
        if np.random.random() < self.solarise_p:
            image = np.where(image >= 128, 255 - image, image)
        return image

    def jittered(self, image: np.ndarray) -> np.ndarray:
        """Brightness, contrast, saturation (blends with black, mean grey, own grey), hue (a turn), in a drawn order."""
        *factors, hue = self.jitter
        factors = [np.random.uniform(max(0.0, 1 - x), 1 + x) for x in factors]
        turn = np.random.uniform(-hue, hue)
        for kind in np.random.permutation(4):
            if kind == 0:
                image = cv2.convertScaleAbs(image, alpha=factors[0])
            elif kind == 1:
                mean = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()
                image = cv2.addWeighted(image, factors[1], np.full_like(image, round(mean)), 1 - factors[1], 0)
            elif kind == 2:
                grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
                image = cv2.addWeighted(image, factors[2], grey, 1 - factors[2], 0)
            elif turn:
                hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
                hsv[..., 0] += np.uint8(round(turn * 256) % 256)  # the circle has 256 steps, so uint8 wraps rightly
                image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
        return image


class View:
    """One or several augmented pictures of an image: a random crop, then colours.

    Args:
        size: side in pixels.
        count: how many; their crops and colours are drawn one by one.
        colour: arguments of ColourJitter; None leaves the colours.
        crop: arguments of RandomCrop (scale, ratio, flip, interpolation).
    """

    def __init__(self, size: int, count: int | None = None, colour: dict[str, Any] | None = None, **crop: Any) -> None:
        self.count = count
        self.crop = RandomCrop(size, **crop)
        self.colour = ColourJitter(**colour) if colour is not None else None

    def __call__(self, image: np.ndarray) -> tuple[torch.Tensor, Window]:
        """[H, W, 3] -> uint8 [3, size, size], or [count, 3, size, size] where a count is given; and the last window."""
        made = []
        for _ in range(self.count or 1):
            window = self.crop.draw(*image.shape[:2])
            made.append(self.at(image, window))
        return (made[0] if self.count is None else torch.stack(made)), window

    def at(self, image: np.ndarray, window: Window) -> torch.Tensor:
        """The picture of a given window, uint8 [3, size, size]."""
        picture = self.crop.apply(image, window)
        if self.colour is not None:
            picture = self.colour(picture)
        return to_tensor(picture)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """[H, W, 3] -> [3, H, W], contiguous."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
