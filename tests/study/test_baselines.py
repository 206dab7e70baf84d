"""Baselines without an encoder, against loops over pixels."""

import numpy as np
import pytest

from engine.errors import UserError
from reports.records import read_record
from study.configure import load_config
from study.run import run, run_test
from tests.datasets.prepare.samples import photograph, save


@pytest.fixture
def mine(here):
    """Label and depth maps of two sizes, with ignored pixels and places that were never measured."""
    rng, truth = np.random.default_rng(3), {"labels": {}, "depth": {}}
    for split, count in {"train": 3, "val": 1, "test": 2}.items():
        for k in range(count):
            photograph(here / f"mine/images/{split}/{k}.jpg", seed=k)  # 8 x 12 pixels
            maps = rng.choice([0, 1, 2, 7], (8, 12), p=[0.2, 0.5, 0.2, 0.1]), rng.integers(500, 4000, (8, 12))
            maps[1][0, :3] = 0
            for kind, values, dtype in zip(truth, maps, (np.uint8, np.uint16), strict=True):
                save(here / f"mine/{kind}/{split}/{k}.png", values.astype(dtype))
                truth[kind].setdefault(split, []).append(values)
    common = "root='mine', images='images/{split}', name='mine', size=(4, 6)"
    seg = "kind='seg', labels='labels/{split}', classes=('a', 'b', 'c'), ignore=(7,)"
    (here / "seg.py").write_text(f"data = dict({seg}, {common})\n")
    (here / "depth.py").write_text(f"data = dict(kind='depth', {common}, labels='depth/{{split}}')\n")
    return truth


def test_the_most_frequent_class(mine, here):
    record = run(load_config("seg_configs/upernet.py", encoder="majority_class", data="seg.py"), "command")
    counts = [sum(int(v == c) for m in mine["labels"]["train"] for v in m.ravel()) for c in range(3)]
    best = counts.index(max(counts))
    hits = sum(int(v == best) for m in mine["labels"]["test"] for v in m.ravel())
    seen = sum(int(v != 7) for m in mine["labels"]["test"] for v in m.ravel())
    # every pixel that counts is predicted as `best`, so its union is all of them; the other classes have nothing
    assert record["metrics"]["mIoU"]["value"] == pytest.approx(100 * hits / seen / 3, abs=0.01)
    stored = read_record(here / "runs/tiny-mine/upernet/majority_class/seed0/result.json")
    assert stored["metrics"] == record["metrics"]
    assert record["reference_kind"] == "floor" and record["checkpoint"] is None
    assert record["settings"]["train_images"] == 3 and record["settings"]["lr"] is None


@pytest.mark.parametrize("method, dense, probes", [
    ("majority_class", "seg_configs/upernet.py", ("linear_seg", "knn_seg")),
    ("mean_depth", "depth/configs/depth.py", ("linear_depth",)),
])  # fmt: skip
def test_a_probe_has_the_baseline_of_its_data(mine, method, dense, probes):
    data = "seg.py" if method == "majority_class" else "depth.py"
    expected = run(load_config(dense, encoder=method, data=data), "command")
    for probe in probes:
        record = run_test(load_config(f"probes/configs/{probe}.py", encoder=method, data=data), "command")
        assert record["task"] == probe and record["checkpoint"] is None and record["status"] == "ok"
        found = {name: metric["value"] for name, metric in record["metrics"].items()}
        assert found == {name: expected["metrics"][name]["value"] for name in found}
        assert record.get("details") == expected.get("details")
        assert record["settings"]["train_images"] == 3


def test_the_mean_depth_map(mine):
    record = run(load_config("depth/configs/depth.py", encoder="mean_depth", data="depth.py"), "command")
    mean = np.zeros((4, 6))
    for y in range(4):
        for x in range(6):  # the nearest of twice as many pixels, at the centre of each cell: the second of two
            found = [m[2 * y + 1, 2 * x + 1] / 1000 for m in mine["depth"]["train"]]
            mean[y, x] = sum(found) / len(found)
    errors = []
    for truth in mine["depth"]["test"]:
        squares = []
        for y in range(8):
            for x in range(12):
                if truth[y, x]:
                    squares.append((bilinear(mean, (y + 0.5) / 2 - 0.5, (x + 0.5) / 2 - 0.5) - truth[y, x] / 1000) ** 2)
        errors.append(np.sqrt(np.mean(squares)))
    assert record["metrics"]["rmse"]["value"] == pytest.approx(np.mean(errors), rel=1e-5)


def bilinear(values, y, x):
    """A value between four, at the border the border's."""
    y, x = min(max(y, 0), len(values) - 1), min(max(x, 0), len(values[0]) - 1)
    top, left = int(y), int(x)
    down, right = min(top + 1, len(values) - 1), min(left + 1, len(values[0]) - 1)
    above = values[top][left] * (1 - (x - left)) + values[top][right] * (x - left)
    below = values[down][left] * (1 - (x - left)) + values[down][right] * (x - left)
    return above * (1 - (y - top)) + below * (y - top)


def test_no_baseline_of_another_task(mine):
    with pytest.raises(UserError, match="it is no baseline of upernet"):
        run(load_config("seg_configs/upernet.py", encoder="mean_depth", data="seg.py"), "command")
