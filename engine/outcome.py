"""What a test of a frozen encoder gave: measures with bootstrap intervals, and what was trained for them.

An interval holds 95 % of the resamples of a test set's images with replacement (Efron's percentiles).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

RESAMPLES = 2000
LEVEL = 0.95
BLOCK = 2**22  # draws at a time


@dataclass(frozen=True)
class Measure:
    """One metric of a record.

    Attributes:
        name: in the record. value: in `unit`.
        low, high: its 95 % interval over images, None where there is none.
        chance: what guessing gives, None where nothing is guessed.
        unit: by default a share in %. direction: which way is better.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    unit: str = "%"
    direction: str = "up"


@dataclass(frozen=True)
class Outcome:
    """What a task gave.

    Attributes:
        measures: in the order of the record.
        settings: of the record, what was trained with; nothing where nothing was.
        pace: training samples per second, None where nothing was trained.
        details: what the evaluator knows class by class, None where it tells nothing.
    """

    measures: list[Measure]
    settings: dict[str, Any] = field(default_factory=dict)
    pace: float | None = None
    details: dict[str, Any] | None = None


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
