"""From answers to measures with bootstrap intervals.

An interval holds 95 % of the resamples of a test set's images with replacement (Efron's percentiles).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

RESAMPLES = 2000
LEVEL = 0.95
BLOCK = 2**22  # draws at a time


@dataclass(frozen=True)
class Measure:
    """A share in %: its name in the record, its value, its 95 % interval over images, and what guessing gives."""

    name: str
    value: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True)
class Outcome:
    """What a task gave.

    Attributes:
        measures: in the order of the record.
        settings: of the record, what was trained with; nothing where nothing was.
        pace: training samples per second, None where nothing was trained.
    """

    measures: list[Measure]
    settings: dict[str, Any] = field(default_factory=dict)
    pace: float | None = None


@dataclass(frozen=True)
class Answer:
    """A classifier's answers to one question: the nearest classes [N, k], best first, the true ones [N], how many."""

    nearest: Tensor
    truth: Tensor
    classes: int


def accuracies(answers: Sequence[Answer], weights: Tensor | None = None, prefix: str = "") -> list[Measure]:
    """top1 and mean_per_class, means over the questions, and top5 of one question where the classes are more than five.

    Args:
        answers: to questions about the same N images.
        weights: from `resamples`, by default of N images.
        prefix: of the names.
    """
    if weights is None:
        weights = resamples(len(answers[0].truth))
    images = torch.arange(weights.shape[1])
    top1 = [hits(answer.nearest[:, :1], answer.truth) for answer in answers]

    def per_class(counts: Tensor | None = None) -> Tensor:
        each = [mean_per_class(hit, answer.truth, counts) for hit, answer in zip(top1, answers, strict=True)]
        return torch.stack(each).mean(dim=0)

    chance = sum(1 / answer.classes for answer in answers) / len(answers)
    found = [
        share(f"{prefix}top1", torch.cat(top1), images.repeat(len(answers)), weights, chance),
        percent(f"{prefix}mean_per_class", float(per_class()), interval(per_class, weights), chance),
    ]
    if len(answers) == 1 and answers[0].classes > 5 <= answers[0].nearest.shape[1]:
        top5 = hits(answers[0].nearest, answers[0].truth)
        found.append(share(f"{prefix}top5", top5, images, weights, 5 / answers[0].classes))
    return found


def share(name: str, hit: Tensor, image: Tensor, weights: Tensor, chance: float) -> Measure:
    """The share of hits [T] of items that belong to images [T]."""
    return percent(name, float(hit.float().mean()), interval(weighted_share(hit, image), weights), chance)


def percent(name: str, value: float, bounds: tuple[float, float], chance: float) -> Measure:
    """A measure from shares of 1."""
    return Measure(name, 100 * value, 100 * bounds[0], 100 * bounds[1], 100 * chance)


def hits(nearest: Tensor, labels: Tensor) -> Tensor:
    """Nearest classes [N, k] and true ones [N] -> bool [N]: is the true class among the k?"""
    return (nearest == labels[:, None]).any(dim=1)


def mean_per_class(hit: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over classes of the share of hits, over the classes that occur.

    Args:
        hit: bool [N]. labels: int64 [N]. weights: [R, N], how often each image counts in R resamples; once by default.

    Returns: [R], or [1] without weights, each in 0..1.
    """
    if weights is None:
        weights = torch.ones(1, len(labels))
    member = torch.zeros(len(labels), int(labels.max()) + 1, dtype=weights.dtype).scatter_(1, labels[:, None], 1)
    total = weights @ member  # [R, C]
    right = weights @ (member * hit[:, None])  # [R, C]
    present = total > 0
    return (right / total.clamp(min=1)).sum(dim=1) / present.sum(dim=1)


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

    def weighted(weights: Tensor) -> Tensor:
        each = torch.zeros(weights.shape[1])
        right = each.scatter_add(0, image, hit.float())  # [N]
        total = each.scatter_add(0, image, torch.ones(len(image)))  # [N]
        return (weights @ right) / (weights @ total)

    return weighted
