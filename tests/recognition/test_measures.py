"""Measures by hand, and their bootstrap intervals against theory and a plain resampling."""

import numpy as np
import pytest
import torch

from engine import outcome
from engine.outcome import interval, resamples
from recognition.measures import Answer, accuracies, mean_per_class, weighted_share


def test_resamples_are_counts_that_repeat():
    weights = resamples(7, seed=1, count=50)
    assert weights.shape == (50, 7) and weights.sum(dim=1).tolist() == [7.0] * 50
    assert torch.equal(weights, resamples(7, seed=1, count=50)) and not torch.equal(weights, resamples(7, 2, 50))


def test_blocks_draw_what_one_draw_would(monkeypatch):
    whole = torch.randint(7, (50, 7), generator=torch.Generator().manual_seed(1))
    counted = torch.stack([torch.bincount(row, minlength=7) for row in whole]).float()
    for block in (1, 30, 2**22):
        monkeypatch.setattr(outcome, "BLOCK", block)
        assert torch.equal(resamples(7, seed=1, count=50), counted)


def test_a_share_has_the_interval_of_a_binomial():
    hit = torch.arange(400) < 120
    low, high = interval(weighted_share(hit, torch.arange(400)), resamples(400))
    half = 1.96 * (0.3 * 0.7 / 400) ** 0.5
    assert abs(low - (0.3 - half)) < 0.006 and abs(high - (0.3 + half)) < 0.006


def test_items_are_drawn_with_their_image():
    image = torch.tensor([0, 0, 1, 2, 2, 2])
    hit = torch.tensor([True, False, True, False, False, True])
    weights = resamples(3, count=20)
    found = weighted_share(hit, image)(weights)
    for value, counts in zip(found.tolist(), weights.int().tolist(), strict=True):
        drawn = [bool(h) for k, n in enumerate(counts) for _ in range(n) for h in hit[image == k]]
        assert abs(value - np.mean(drawn)) < 1e-6


def test_mean_per_class_by_hand():
    labels, hit = torch.tensor([0, 0, 0, 2]), torch.tensor([True, True, False, False])
    assert mean_per_class(hit, labels).tolist() == pytest.approx([(2 / 3 + 0) / 2])  # class 1 does not occur
    weights = torch.tensor([[1.0, 0, 2, 1], [1, 1, 2, 0]])
    assert mean_per_class(hit, labels, weights).tolist() == pytest.approx([(1 / 3) / 2, 2 / 4])


def test_the_interval_of_a_mean_over_questions_draws_images():
    """Each image is drawn with all its answers; the bounds are those of the resampled means."""
    generator = torch.Generator().manual_seed(1)
    truths = [torch.randint(classes, (30,), generator=generator) for classes in (2, 7)]
    nearest = [torch.randint(classes, (30, 1), generator=generator) for classes in (2, 7)]
    answers = [Answer(n, t, c) for n, t, c in zip(nearest, truths, (2, 7), strict=True)]
    weights = resamples(30, count=400)
    top1, mean = accuracies(answers, weights)
    drawn = [[k for k, n in enumerate(row) for _ in range(n)] for row in weights.int().tolist()]
    right = [(n[:, 0] == t).double().numpy() for n, t in zip(nearest, truths, strict=True)]
    shares = [np.mean([right[0][images].mean(), right[1][images].mean()]) for images in drawn]
    assert (top1.low, top1.high) == pytest.approx(tuple(100 * np.quantile(shares, [0.025, 0.975])), abs=1e-3)
    per_class = []
    for images in drawn:
        each = [[h[[i for i in images if t[i] == c]].mean() for c in set(t[images].tolist())]
                for h, t in zip(right, truths, strict=True)]  # fmt: skip
        per_class.append(np.mean([np.mean(values) for values in each]))
    assert (mean.low, mean.high) == pytest.approx(tuple(100 * np.quantile(per_class, [0.025, 0.975])), abs=1e-3)
