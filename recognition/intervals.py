"""Bootstrap intervals over images: 95 % of the resamples of a test set with replacement (Efron's percentiles)."""

from collections.abc import Callable

import torch
from torch import Tensor

RESAMPLES = 2000
LEVEL = 0.95
BLOCK = 2**22  # draws at a time


def resamples(images: int, seed: int = 0, count: int = RESAMPLES) -> Tensor:
    """How often each image counts in each resample, float32 [count, images]; a function of its arguments alone."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.zeros(count, images)
    for rows in weights.split(max(1, BLOCK // images)):  # what is drawn takes twice the room of its counts
        drawn = torch.randint(images, rows.shape, generator=generator)
        rows.scatter_add_(1, drawn, torch.ones(1).expand(rows.shape))
    return weights


def interval(statistic: Callable[[Tensor], Tensor], weights: Tensor) -> tuple[float, float]:
    """The 95 % interval (low, high) of a statistic.

    Args:
        statistic: weights of images [R, N] -> values [R].
        weights: from `resamples`.
    """
    values = statistic(weights)
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(values, torch.tensor([tail, 1 - tail], dtype=values.dtype)).tolist()
    return low, high


def weighted_share(hit: Tensor, image: Tensor) -> Callable[[Tensor], Tensor]:
    """The statistic "share of hits" of items that belong to images and are drawn together with them.

    Args:
        hit: bool [T]. image: int64 [T], each item's image, which is its own number where items are images.
    """

    def share(weights: Tensor) -> Tensor:
        each = torch.zeros(weights.shape[1])
        right = each.scatter_add(0, image, hit.float())  # [N]
        total = each.scatter_add(0, image, torch.ones(len(image)))  # [N]
        return (weights @ right) / (weights @ total)

    return share
