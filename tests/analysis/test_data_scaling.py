"""Shifts against closed forms, and records that must not be compared."""

import json

import numpy as np
import pytest

from analysis import data_scaling
from analysis.data_scaling import Line, Point, log_size_at, shift_at_equal_score, shift_by_seed
from engine.errors import UserError
from tests.reports import synthetic


def test_sizes_between_points():
    line = Line("a", (100, 1000, 10000), (10.0, 20.0, 25.0))
    assert [log_size_at(y, line) for y in (10, 15, 20, 22.5, 25)] == pytest.approx([2, 2.5, 3, 3.5, 4])
    assert log_size_at(9.9, line) is None and log_size_at(25.1, line) is None
    falling = Line("b", (100, 1000), (0.9, 0.5))  # an error, for which less is better
    assert log_size_at(0.7, falling) == pytest.approx(2.5)
    assert log_size_at(12, Line("c", (10, 100, 1000), (10.0, 14.0, 12.0))) == pytest.approx(1.5)  # the first passing


@pytest.mark.parametrize("times", [1, 10, 2.5])
def test_a_line_that_was_moved(times):
    """Scores 5 log10 of the size; the other line reaches them with so many times fewer samples."""
    sizes = (1000, 4000, 16000, 64000)
    baseline = Line("raw", sizes, tuple(5 * np.log10(size) for size in sizes))
    other = Line("clean", sizes, tuple(5 * np.log10(size * times) for size in sizes))
    levels, shifts = shift_at_equal_score(baseline, other)
    assert shifts == pytest.approx(np.full(101, np.log10(times)))
    assert levels[0] == pytest.approx(5 * np.log10(1000 * times)) and levels[-1] == pytest.approx(baseline.scores[-1])


def test_the_mean_is_taken_of_logarithms(tmp_path):
    """From 10 to 30 points over two decades and over one: at 10 points equal, at 30 a decade apart."""
    slow = [written(tmp_path, "slow", size, score) for size, score in ((100, 10.0), (10000, 30.0))]
    fast = [written(tmp_path, "fast", size, score) for size, score in ((100, 10.0), (1000, 30.0))]
    found = data_scaling.run([["slow", *slow], ["fast", *fast]])
    assert found.scalars["fewer_samples"].value == pytest.approx(10**0.5)
    back = data_scaling.run([["fast", *fast], ["slow", *slow]])
    assert back.scalars["fewer_samples"].value == pytest.approx(10**-0.5)


def test_lines_without_a_score_in_common():
    with pytest.raises(UserError, match="'a' and 'b' reach no score in common .10 to 20, 30 to 40.: add sizes"):
        shift_at_equal_score(Line("a", (1, 10), (10.0, 20.0)), Line("b", (1, 10), (30.0, 40.0)))


def test_each_seed_alone():
    """Seed 0 needs 10 times fewer samples, seed 1 100 times; seed 2 meets nowhere; seed 3 lacks a size."""
    baseline = [Point(size, seed, 10 * np.log10(size) + seed) for size in (100, 1000, 10000) for seed in (0, 1, 2)]
    gains = {0: 10, 1: 20, 2: 50, 3: 0}
    other = [Point(size, seed, 10 * np.log10(size) + seed + gains[seed]) for size in (100, 1000, 10000)
             for seed in (0, 1, 2, 3)]  # fmt: skip
    assert shift_by_seed(baseline, other) == {0: pytest.approx(1), 1: pytest.approx(2), 2: None}
    assert shift_by_seed([*baseline, Point(100, 3, 20.0)], other).keys() == {0, 1, 2}


def written(folder, name, size, score, **changes):
    """A record of UperNet on that much pretraining data."""
    record = synthetic.record(task="upernet", **{"method": "clip", **changes})
    record["metrics"]["mIoU"]["value"] = score
    if "budget" not in changes:
        record["budget"]["pretrain_data"] = {"name": "scenes", "samples": size}
    path = folder / f"{name}-{size}-{score}.json"
    path.write_text(json.dumps(record))
    return str(path)


def test_records(tmp_path):
    raw = [written(tmp_path, "raw", size, score, seed=seed)
           for size, seed, score in ((100, 0, 9.0), (100, 1, 11.0), (1000, 0, 19.0), (1000, 1, 21.0))]  # fmt: skip
    clean = [written(tmp_path, f"clean{seed}", size, score, seed=seed)
             for size, score in ((10, 10.0), (100, 20.0)) for seed in (0, 1)]  # fmt: skip
    found = data_scaling.run([["raw", *raw], ["clean", *clean]])
    assert found.scalars["fewer_samples"].value == pytest.approx(10)
    points = [(100, 0, 9.0), (100, 1, 11.0), (1000, 0, 19.0), (1000, 1, 21.0)]
    assert found.values["lines"][0] == {"name": "raw", "sizes": (100, 1000), "scores": (10.0, 20.0), "points": points}
    # raw of seed 0 is a point lower than the mean, of seed 1 a point higher: a tenth of a decade either way
    for end, shift in (("low", 0.9), ("high", 1.1)):
        assert found.scalars[f"fewer_samples_{end}"].value == pytest.approx(10**shift)
    assert found.scalars["fewer_samples_high"].about == "the most of 2 of 2 seeds of fine-tuning, each alone"
    bare = data_scaling.run([["raw", *raw[:3]], ["clean", *clean]])  # one seed has all sizes: no spread
    assert set(bare.scalars) == {"fewer_samples"} and list(bare.values["shifts"]["clean"]["log10_shift_by_seed"]) == [0]
    assert found.settings["metric"] == "mIoU" and found.settings["baseline"] == "raw"
    assert "clean needs 10 times fewer samples than raw (7.94 to 12.6 by 2 of 2 seeds" in found.words


def test_records_that_must_not_be_compared(tmp_path):
    good = [written(tmp_path, "a", size, score) for size, score in ((10, 10.0), (100, 20.0))]
    other = written(tmp_path, "b", 1000, 30.0, protocol="scenes-upernet-paper-v1")
    with pytest.raises(UserError, match="has protocol 'scenes-upernet-paper-v1', .*compare runs that differ in data"):
        data_scaling.run([["a", *good], ["b", *good, other]])
    longer = written(tmp_path, "c", 1000, 30.0, budget={
        "pretrain_updates": 77, "pretrain_samples": 77, "pretrain_data": {"name": "scenes", "samples": 1000},
        "pretrain_scale": "tiny",
    })  # fmt: skip
    with pytest.raises(UserError, match="has pretraining updates 77"):
        data_scaling.run([["a", *good], ["b", *good, longer]])
    batches = written(tmp_path, "f", 1000, 30.0, budget={
        "pretrain_updates": 5500, "pretrain_samples": 77, "pretrain_data": {"name": "scenes", "samples": 1000},
        "pretrain_scale": "tiny",
    })  # fmt: skip
    with pytest.raises(UserError, match="has pretraining samples seen 77"):
        data_scaling.run([["a", *good], ["b", *good, batches]])
    settings = synthetic.record()["settings"] | {"iterations": 7}
    with pytest.raises(UserError, match="has fine-tuning iterations 7, .* 400: compare runs that differ in data"):
        data_scaling.run([["a", *good], ["b", *good, written(tmp_path, "g", 1000, 30.0, settings=settings)]])
    stray = written(tmp_path, "h", 1000, 30.0, method="mae")
    with pytest.raises(UserError, match="has method 'mae', .* 'clip': line 'b' is to be of one kind of pretraining"):
        data_scaling.run([["a", *good], ["b", *good, stray]])
    with pytest.raises(UserError, match="are of one checkpoint of 10 samples and one seed, 0: name one of them"):
        data_scaling.run([["a", *good], ["b", *good, written(tmp_path, "i", 10, 11.0)]])
    unsaid = written(tmp_path, "d", 1000, 30.0, budget=synthetic.record()["budget"])
    with pytest.raises(UserError, match="does not say how large its pretraining set was"):
        data_scaling.run([["a", unsaid], ["b", *good]])
    with pytest.raises(UserError, match="line 'b' has records of 1 size"):
        data_scaling.run([["a", *good], ["b", good[0]]])
    with pytest.raises(UserError, match="give --line twice or more"):
        data_scaling.run([["a", *good]])
    with pytest.raises(UserError, match="line 'b' names no record: give --line NAME FILE"):
        data_scaling.run([["a", *good], ["b"]])
    with pytest.raises(UserError, match="two lines have one name"):
        data_scaling.run([["a", *good], ["a", *good]])
    with pytest.raises(UserError, match="cannot be read"):
        data_scaling.run([["a", *good], ["b", str(tmp_path / "absent.json")]])
