"""From a classifier's answers to measures with bootstrap intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.outcome import Measure, interval, resamples


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
