"""The scale-invariant logarithmic loss (SILog) of Eigen et al. 2014, as MIM-Depth-Estimation trains with."""

import torch
from torch import Tensor

MIN_DEPTH = 1e-3
"""Metres. A depth at or below this is a hole in the sensor's map, not a distance."""

VARIANCE_WEIGHT = 0.5
"""The lambda of SILog: 0 is plain RMSE of logarithms, 1 ignores a global scale altogether."""


def valid_depth(depth: Tensor, max_depth: float) -> Tensor:
    """Return the boolean mask of pixels that carry a distance: MIN_DEPTH < depth < max_depth (metres, any shape)."""
    return (depth > MIN_DEPTH) & (depth < max_depth)


def silog_loss(prediction: Tensor, target: Tensor, max_depth: float) -> Tensor:
    """Return sqrt(mean(g^2) - 0.5 mean(g)^2) with g = log target - log prediction, over all valid pixels of the batch.

    Both tensors have the same shape, in metres; the result is a scalar in float32, without the factor of ten that some
    code bases put before it. A batch whose crops hold no valid pixel gives a zero that still has a gradient of zero, so
    that distributed workers stay in step.
    """
    mask = valid_depth(target, max_depth)
    if not mask.any():
        return prediction.float().sum() * 0.0
    # float32 whatever autocast says; the floor only keeps log finite where a sigmoid has underflowed.
    predicted = prediction[mask].float().clamp_min(1e-6)  # [valid pixels]
    g = torch.log(target[mask].float()) - torch.log(predicted)
    # The clamp removes the infinite slope of the root at an exact fit.
    return torch.sqrt((g.square().mean() - VARIANCE_WEIGHT * g.mean().square()).clamp_min(1e-12))
