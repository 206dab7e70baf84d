"""Depth errors as the NYUv2 protocol counts them: per image first, then the mean over images."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from datasets.depth import MIN_DEPTH
from engine.errors import UserError

EIGEN_ROWS = slice(45, 471)
EIGEN_COLUMNS = slice(41, 601)
"""The part of a 480 x 640 NYUv2 image inside the frame of the projected depth map (Eigen et al. 2014)."""

NYU_SHAPE = (480, 640)


def depth_errors(prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return the nine errors of one image from its valid pixels (two vectors of one length, metres, all positive).

    rmse and log10 in metres and decades; abs_rel, sq_rel (metres), rmse_log and silog (natural logarithms); d1, d2, d3
    are the shares of pixels whose ratio max(p/t, t/p) stays under 1.25, 1.25^2, 1.25^3.
    """
    prediction, target = prediction.astype(np.float64), target.astype(np.float64)
    difference = prediction - target
    log_difference = np.log(prediction) - np.log(target)
    ratio = np.maximum(prediction / target, target / prediction)
    return {
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "abs_rel": float(np.mean(np.abs(difference) / target)),
        "sq_rel": float(np.mean(difference**2 / target)),
        "rmse_log": float(np.sqrt(np.mean(log_difference**2))),
        "log10": float(np.mean(np.abs(log_difference)) / np.log(10.0)),
        # At a constant ratio the two terms differ only by rounding when lambda is 1; at 0.5 the difference is positive.
        "silog": float(np.sqrt(np.mean(log_difference**2) - 0.5 * np.mean(log_difference) ** 2)),
        "d1": float(np.mean(ratio < 1.25)),
        "d2": float(np.mean(ratio < 1.25**2)),
        "d3": float(np.mean(ratio < 1.25**3)),
    }


def valid_mask(target: np.ndarray, max_depth: float, eigen_crop: bool) -> np.ndarray:
    """Return the mask [H, W] of the pixels that count: MIN_DEPTH < target < max_depth, inside the Eigen crop."""
    mask = (target > MIN_DEPTH) & (target < max_depth)
    if eigen_crop:
        inside = np.zeros_like(mask)
        inside[EIGEN_ROWS, EIGEN_COLUMNS] = True
        mask &= inside
    return mask


@METRICS.register_module()
class PerImageDepthMetric(BaseMetric):
    """Mean over images of each image's depth errors, and the RMSE over all pixels pooled (`rmse_pooled`).

    The two RMSEs differ whenever images differ in difficulty: the mean of roots is never above the root of the mean
    for maps of equal size. Publications on NYUv2 quote the former; libraries that pool first are not comparable.
    Predictions are clipped to [MIN_DEPTH, max_depth] as in the original evaluation.

    Args:
        max_depth: metres; ground truth at or beyond it is not evaluated.
        eigen_crop: evaluate rows 45:471 and columns 41:601 only; for NYUv2's 480 x 640 alone.

    Raises UserError for a prediction that is not finite, an image without a pixel to evaluate, or the Eigen crop on
    another size.
    """

    def __init__(self, max_depth: float = 10.0, eigen_crop: bool = False, collect_device: str = "cpu") -> None:
        super().__init__(collect_device=collect_device)
        self.max_depth = max_depth
        self.eigen_crop = eigen_crop

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Reduce each sample's `pred_depth_map` and `gt_depth_map` (data [1, H, W], metres) to one row of numbers."""
        for sample in data_samples:
            name = sample.get("img_path", "an image without a path")
            target = _plane(sample["gt_depth_map"]["data"])
            prediction = _plane(sample["pred_depth_map"]["data"])
            if self.eigen_crop and target.shape != NYU_SHAPE:
                raise UserError(
                    f"{name}: the Eigen crop is defined on 480x640 depth maps, this one is "
                    f"{target.shape[0]}x{target.shape[1]}; set eigen_crop=False in the evaluator"
                )
            mask = valid_mask(target, self.max_depth, self.eigen_crop)
            count = int(mask.sum())
            if count == 0:
                raise UserError(
                    f"{name}: no pixel of its depth map lies between {MIN_DEPTH} m and {self.max_depth} m where it is "
                    "evaluated; check depth_scale and max_depth, or remove the image"
                )
            if not np.isfinite(prediction[mask]).all():
                raise UserError(
                    f"{name}: the predicted depth is not finite (NaN or infinity); the training has diverged, "
                    "lower the learning rate"
                )
            errors = depth_errors(np.clip(prediction[mask], MIN_DEPTH, self.max_depth), target[mask])
            self.results.append({**errors, "pixels": count})

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Return the mean of every error over images, and `rmse_pooled`."""
        metrics = {key: float(np.mean([row[key] for row in results])) for key in results[0] if key != "pixels"}
        pixels = np.array([row["pixels"] for row in results], dtype=np.float64)
        squares = pixels * np.array([row["rmse"] for row in results]) ** 2
        metrics["rmse_pooled"] = float(np.sqrt(squares.sum() / pixels.sum()))
        return metrics


def _plane(data: torch.Tensor) -> np.ndarray:
    """Return [1, H, W] as float64 [H, W]; the channel is taken by index, so that one-pixel sides survive."""
    return data[0].detach().cpu().numpy().astype(np.float64)
