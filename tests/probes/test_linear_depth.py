"""Linear depth: bins, loss and intervals against plain computations; the task from a checkpoint to its record."""

import math

import numpy as np
import pytest
import torch

from engine.outcome import resamples
from probes.linear_depth import depth_loss, depth_of, intervals
from study.configure import load_config
from study.run import run_test
from tests.probes.test_linear_seg import bilinear

CONFIG = "probes/configs/linear_depth.py"
BINS = torch.linspace(1e-3, 10, 6, dtype=torch.float64)


def test_a_depth_is_the_weighted_mean_of_the_bins_at_four_times_the_grid():
    scores = torch.randn(1, 6, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = depth_of(scores, BINS)
    planes = np.stack([bilinear(plane.numpy(), 8, 12) for plane in scores[0]])
    assert found.shape == (1, 1, 8, 12)
    for i in range(8):
        for j in range(12):
            weights = [max(v, 0) + 0.1 for v in planes[:, i, j]]
            mean = sum(w * float(b) for w, b in zip(weights, BINS, strict=True)) / sum(weights)
            assert float(found[0, 0, i, j]) == pytest.approx(mean, rel=1e-12)
    assert depth_of(torch.zeros(1, 6, 1, 1, dtype=torch.float64), BINS).unique().tolist() == pytest.approx([5.0005])


def test_the_loss_is_that_of_the_valid_pixels():
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(2, 6, 2, 2, generator=generator, dtype=torch.float64)
    target = (9 * torch.rand(2, 9, 5, generator=generator) + 0.5).double()
    target[0, 0], target[1, 3, 2], target[1, 4, 4] = 0, 10, 25  # not measured, and beyond max_depth
    found = depth_loss(scores, target, BINS, 10.0)
    depth = depth_of(scores, BINS)
    g = []
    for b in range(2):
        plane = bilinear(depth[b, 0].numpy(), 9, 5)
        for i in range(9):
            for j in range(5):
                t = float(target[b, i, j].float())
                if 1e-3 < t < 10:
                    g.append(math.log(plane[i, j] + 1e-3) - math.log(t + 1e-3))
    assert len(g) == 2 * 45 - 5 - 2
    assert float(found) == pytest.approx(math.sqrt(np.var(g, ddof=1) + 0.15 * np.mean(g) ** 2), rel=1e-6)
    scores.requires_grad_()
    depth_loss(scores, torch.zeros(2, 9, 5), BINS, 10.0).backward()
    assert not scores.grad.any(), "without a valid pixel there is nothing to learn"


def test_intervals_are_quantiles_of_resampled_means():
    errors = [{"rmse": 0.5 + 0.1 * k, "d1": 1 / (k + 1), "pixels": 9} for k in range(5)]
    found = intervals(errors)
    assert {*found} == {"rmse", "d1"}
    for name, bounds in found.items():
        drawn = [zip(counts, errors, strict=True) for counts in resamples(5).tolist()]
        means = [sum(n * row[name] for n, row in pairs) / 5 for pairs in drawn]
        assert bounds == pytest.approx(np.quantile(means, [0.025, 0.975]), rel=1e-9)


def test_from_a_checkpoint_to_a_record(mae, overlay, tmp_path):
    options = {"probe.iterations": 6, "probe.warm_up": 2, "probe.bins": 16}
    cfg = load_config(CONFIG, checkpoint=str(mae), data=str(overlay(CONFIG, max_depth=8.0)), options=options,
                      work_dir=str(tmp_path / "out"))  # fmt: skip
    assert cfg.test_evaluator.max_depth == 8.0
    record = run_test(cfg, "python tools/test.py x")
    rmse, delta = record["metrics"]["rmse"], record["metrics"]["delta1"]
    assert rmse["primary"] and (rmse["unit"], rmse["direction"]) == ("m", "down")
    assert 0 < rmse["low"] <= rmse["value"] <= rmse["high"] < 8 and "low" not in record["metrics"]["rmse_pooled"]
    assert delta["unit"] == "%" and 0 <= delta["low"] <= delta["value"] <= delta["high"] <= 100
    assert record["settings"]["iterations"] == 6 and record["protocol"] == "small-scenes-linear-depth-64-tiny-v1"
