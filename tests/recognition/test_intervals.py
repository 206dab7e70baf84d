"""Bootstrap intervals against theory and a plain resampling."""

import numpy as np
import torch

from recognition import intervals
from recognition.intervals import interval, resamples, weighted_share


def test_resamples_are_counts_that_repeat():
    weights = resamples(7, seed=1, count=50)
    assert weights.shape == (50, 7) and weights.sum(dim=1).tolist() == [7.0] * 50
    assert torch.equal(weights, resamples(7, seed=1, count=50)) and not torch.equal(weights, resamples(7, 2, 50))


def test_blocks_draw_what_one_draw_would(monkeypatch):
    whole = torch.randint(7, (50, 7), generator=torch.Generator().manual_seed(1))
    counted = torch.stack([torch.bincount(row, minlength=7) for row in whole]).float()
    for block in (1, 30, 2**22):
        monkeypatch.setattr(intervals, "BLOCK", block)
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
