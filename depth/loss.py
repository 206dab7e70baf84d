"""The scale-invariant logarithmic loss (SILog) of Eigen et al. 2014, as MIM-Depth-Estimation trains with."""

import torch
from torch import Tensor

from datasets.depth import MIN_DEPTH

VARIANCE_WEIGHT = 0.5
"""The lambda of SILog: 0 is plain RMSE of logarithms, 1 ignores a global scale altogether."""


def valid_depth(depth: Tensor, max_depth: float) -> Tensor:
    """Return the boolean mask of pixels that carry a distance: MIN_DEPTH < depth < max_depth (metres, any shape)."""
    return (depth > MIN_DEPTH) & (depth < max_depth)


def silog_loss(prediction: Tensor, target: Tensor, max_depth: float) -> Tensor:
    """Return sqrt(mean(g^2) - 0.5 mean(g)^2) with g = log target - log prediction, over all valid pixels of the batch.

    Both tensors have the same shape, in metres; the result is a scalar in float32, without the factor of ten that some
    code bases put before it. Invalid pixels are masked and not taken out, so that a GPU need not wait for their number.
    Crops without any valid pixel give a loss of nearly zero whose gradient is zero.
    """
    mask = valid_depth(target, max_depth)
    # float32 whatever autocast says; the floor only keeps log finite where a sigmoid has underflowed.
    predicted = prediction.float().clamp_min(1e-6)
    g = torch.where(mask, torch.log(target.float().clamp_min(MIN_DEPTH)) - torch.log(predicted), 0.0)
    count = mask.sum().clamp_min(1)
    mean, mean_square = g.sum() / count, g.square().sum() / count
    # The clamp removes the infinite slope of the root at an exact fit.
    return torch.sqrt((mean_square - VARIANCE_WEIGHT * mean.square()).clamp_min(1e-12))
