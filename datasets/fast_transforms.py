"""Transforms of mmseg and mmdet with the same results in less time: benchmarks/loaders.py measures them."""

from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmcv.transforms.utils import cache_randomness
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import PackSegInputs, PhotoMetricDistortion, RandomCrop


class ChannelsFirst:
    """Before mmseg's or mmdet's packing class: numpy lays out the image, which takes torch longer."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack all but the image as they do, then the image [H, W, 3] as "inputs", uint8 [3, H, W]."""
        image = results.pop("img")
        packed = super().transform(results)
        return {**packed, "inputs": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))}


@TRANSFORMS.register_module()
class PackSeg(ChannelsFirst, PackSegInputs):
    """mmseg's packing."""


@TRANSFORMS.register_module()
class PhotoMetricTables(PhotoMetricDistortion):
    """mmseg's distortion of brightness, contrast, saturation and hue, worked out for the 256 values that there are."""

    def convert(self, img: np.ndarray, alpha: float = 1, beta: float = 0) -> np.ndarray:
        """uint8 -> img * alpha + beta, cut to 0 .. 255."""
        return cv2.LUT(np.ascontiguousarray(img), super().convert(np.arange(256, dtype=np.uint8), alpha, beta))

    def hue(self, img: np.ndarray) -> np.ndarray:
        """BGR [H, W, 3] with all hues (0 .. 179) turned by the same, half of the time."""
        if not np.random.randint(2):
            return img
        hsv = mmcv.bgr2hsv(img)
        turned = (np.arange(256) + np.random.randint(-self.hue_delta, self.hue_delta)) % 180
        hsv[..., 0] = cv2.LUT(np.ascontiguousarray(hsv[..., 0]), turned.astype(np.uint8))
        return mmcv.hsv2bgr(hsv)


@TRANSFORMS.register_module()
class CountedCrop(RandomCrop):
    """mmseg's random crop, drawn anew up to ten times while one class fills too much of it; counted without sorting."""

    @cache_randomness
    def crop_bbox(self, results: dict[str, Any]) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the crop."""
        anywhere = RandomCrop(self.crop_size)
        box = anywhere.crop_bbox(results)
        for _ in range(10 if self.cat_max_ratio < 1 else 0):
            counts = np.bincount(self.crop(results["gt_seg_map"], box).ravel(), minlength=256)
            counts[self.ignore_index] = 0
            if np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < self.cat_max_ratio:
                break
            box = anywhere.crop_bbox(results)
        return box
