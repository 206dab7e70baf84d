"""Depth metrics against hand-made numbers and plain float64 loops."""

import math

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

from depth.metric import PerImageDepthMetric, depth_errors, valid_mask
from engine.errors import UserError

NAMES = ("rmse", "abs_rel", "sq_rel", "rmse_log", "log10", "silog", "d1", "d2", "d3")


def sample(prediction, target, name="a.png"):
    as_map = lambda x: {"data": torch.as_tensor(x, dtype=torch.float32)[None]}  # noqa: E731
    return {"img_path": name, "pred_depth_map": as_map(prediction), "gt_depth_map": as_map(target)}


def evaluate(samples, **kwargs):
    metric = METRICS.build({"type": "PerImageDepthMetric", **kwargs})
    for one in samples:
        metric.process({}, [one])
    return metric.evaluate(len(samples))


def loops(prediction, target, max_depth):
    """The definitions of FACTS 2.5, one pixel at a time."""
    pairs = [(p, t) for p, t in zip(prediction.ravel(), target.ravel(), strict=True) if 1e-3 < t < max_depth]
    n = len(pairs)
    g = [math.log(t) - math.log(p) for p, t in pairs]
    out = {
        "rmse": math.sqrt(sum((p - t) ** 2 for p, t in pairs) / n),
        "abs_rel": sum(abs(p - t) / t for p, t in pairs) / n,
        "sq_rel": sum((p - t) ** 2 / t for p, t in pairs) / n,
        "rmse_log": math.sqrt(sum(x * x for x in g) / n),
        "log10": sum(abs(math.log10(p) - math.log10(t)) for p, t in pairs) / n,
        "silog": math.sqrt(sum(x * x for x in g) / n - 0.5 * (sum(g) / n) ** 2),
    }
    for k in (1, 2, 3):
        out[f"d{k}"] = sum(max(p / t, t / p) < 1.25**k for p, t in pairs) / n
    return out


def test_two_by_two_example_by_hand():
    # Ratios 2, 1, 1.3, and one hole; errors 1, 0, 0.6.
    metrics = evaluate([sample([[2.0, 4.0], [2.6, 5.0]], [[1.0, 4.0], [2.0, 0.0]])])
    ln2, ln13 = math.log(2), math.log(1.3)
    assert metrics["rmse"] == pytest.approx(math.sqrt((1 + 0 + 0.36) / 3), rel=1e-6)
    assert metrics["abs_rel"] == pytest.approx((1 + 0 + 0.3) / 3, rel=1e-6)
    assert metrics["sq_rel"] == pytest.approx((1 + 0 + 0.18) / 3, rel=1e-6)
    assert metrics["rmse_log"] == pytest.approx(math.sqrt((ln2**2 + ln13**2) / 3), rel=1e-6)
    assert metrics["log10"] == pytest.approx((math.log10(2) + math.log10(1.3)) / 3, rel=1e-6)
    assert metrics["silog"] == pytest.approx(
        math.sqrt((ln2**2 + ln13**2) / 3 - 0.5 * ((ln2 + ln13) / 3) ** 2), rel=1e-6
    )
    assert metrics["d1"] == pytest.approx(1 / 3)  # 1.3 is beyond 1.25
    assert metrics["d2"] == pytest.approx(2 / 3)  # 2 is beyond 1.5625
    assert metrics["d3"] == pytest.approx(2 / 3)  # and beyond 1.953


def test_every_error_agrees_with_loops():
    rng = np.random.default_rng(3)
    rows = []
    samples = []
    for size in ((6, 9), (4, 4), (11, 3)):
        target = rng.uniform(-1, 12, size).astype(np.float32)
        prediction = np.clip(target * rng.uniform(0.5, 1.9, size), 0.01, 9.9).astype(np.float32)
        rows.append(loops(prediction.astype(float), target.astype(float), 10.0))
        samples.append(sample(prediction, target))
    metrics = evaluate(samples)
    assert set(metrics) == {*NAMES, "rmse_pooled"}
    for name in NAMES:
        assert metrics[name] == pytest.approx(sum(row[name] for row in rows) / 3, rel=1e-9), name


def test_rmse_is_the_mean_over_images_and_not_pooled():
    target = np.full((2, 2), 5.0)
    metrics = evaluate([sample(target + 1, target), sample(target + 3, target)])
    assert metrics["rmse"] == pytest.approx(2.0)
    assert metrics["rmse_pooled"] == pytest.approx(math.sqrt((1 + 9) / 2))


def test_pooling_weighs_images_by_their_valid_pixels():
    target = np.full((2, 2), 5.0)
    holes = np.array([[5.0, 0.0], [0.0, 0.0]])
    metrics = evaluate([sample(target + 1, target), sample(target + 3, holes)])
    assert metrics["rmse"] == pytest.approx(2.0)
    assert metrics["rmse_pooled"] == pytest.approx(math.sqrt((4 * 1 + 1 * 9) / 5))


def test_eigen_crop_counts_426_by_560_pixels():
    mask = valid_mask(np.ones((480, 640)), 10.0, True)
    assert mask.sum() == 426 * 560
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (45, 470, 41, 600)
    assert valid_mask(np.ones((480, 640)), 10.0, False).all()


def test_errors_outside_the_eigen_crop_do_not_count():
    target = np.full((480, 640), 4.0)
    prediction = target.copy()
    prediction[44], prediction[471], prediction[:, 40], prediction[:, 601] = 9, 9, 9, 9
    assert evaluate([sample(prediction, target)], eigen_crop=True)["rmse"] == 0
    assert evaluate([sample(prediction, target)])["rmse"] > 0
    prediction[45, 41] = 5
    assert evaluate([sample(prediction, target)], eigen_crop=True)["rmse"] == pytest.approx((426 * 560) ** -0.5)


def test_eigen_crop_is_refused_on_other_sizes():
    with pytest.raises(UserError, match=r"room\.png.*480x640.*is 4x6"):
        evaluate([sample(np.ones((4, 6)), np.ones((4, 6)), "room.png")], eigen_crop=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_prediction_that_is_no_number_is_refused(bad):
    prediction = np.full((2, 2), 3.0)
    prediction[0, 1] = bad
    with pytest.raises(UserError, match=r"room\.png.*not finite"):
        evaluate([sample(prediction, np.full((2, 2), 3.0), "room.png")])


def test_image_without_an_evaluated_pixel_is_refused():
    for target in (0.0, 10.0, 50.0):
        with pytest.raises(UserError, match=r"room\.png.*no pixel"):
            evaluate([sample(np.ones((2, 2)), np.full((2, 2), target), "room.png")])


def test_predictions_are_clipped_to_the_evaluated_range():
    metrics = evaluate([sample([[0.0, 30.0]], [[2.0, 2.0]])])
    expected = depth_errors(np.array([1e-3, 10.0]), np.array([2.0, 2.0]))
    assert metrics["rmse"] == pytest.approx(expected["rmse"], rel=1e-6)
    assert math.isfinite(metrics["rmse_log"])


def test_results_of_several_processes_can_be_joined():
    rng = np.random.default_rng(0)
    maps = [(rng.uniform(1, 9, (3, 3)), rng.uniform(1, 9, (3, 3))) for _ in range(4)]
    whole, first, second = (PerImageDepthMetric() for _ in range(3))
    for k, (prediction, target) in enumerate(maps):
        whole.process({}, [sample(prediction, target)])
        (first, second)[k % 2].process({}, [sample(prediction, target)])
    joined = whole.compute_metrics(first.results + second.results)
    assert joined == pytest.approx(whole.compute_metrics(whole.results), rel=1e-12)
