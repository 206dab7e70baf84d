"""tools/compare.py: from data and encoders to one table."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from study.comparison import tables
from study.plan import complete, grid_of, named, study_of
from tests.commands import ENCODER
from tests.datasets.prepare.samples import photograph, save
from tools import compare

OVERLAY = """data = dict(kind='seg', root='mine', images='images/{split}', labels='labels/{split}', name='mine',
            size=(32, 48), classes=('a', 'b'))
"""


@pytest.fixture
def mine(here, checkpoint):
    """Label maps of two classes and two checkpoints of one method."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 4, "val": 1, "test": 2}.items():
        for k in range(count):
            photograph(here / f"mine/images/{split}/{k}.jpg", seed=k)
            save(here / f"mine/labels/{split}/{k}.png", rng.integers(0, 2, (8, 12)).astype(np.uint8))
    (here / "mine.py").write_text(OVERLAY)
    return [str(checkpoint("mae", folder=Path(name))) for name in ("early", "late")]


@pytest.mark.slow
def test_two_checkpoints_on_own_data_end_in_a_table(command, mine, here):
    words = ("--data", "mine.py", "--encoders", *mine, "--name", "late=MAE, late", "--tasks", "upernet", "--seeds", 1,
             "--cfg-options", "train_cfg.max_iters=1", "train_dataloader.batch_size=2")  # fmt: skip
    ended = command("compare", *words, cwd=here)
    assert ended.code == 0, ended.out + ended.err
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ended.out.splitlines() if line[:1] == "|"]
    assert rows[0][:5] == ["Encoder", "architecture", "parameters", "FLOPs", "input"]
    assert [row[0] for row in rows[2:]] == ["most frequent class", "random initialisation", "MAE", "MAE, late"]
    records = {path.parent.parent.name: json.loads(path.read_text()) for path in here.rglob("result.json")}
    assert len(records) == 4 and {record["dataset"] for record in records.values()} == {"mine"}
    values = {record["name"]: record["metrics"]["mIoU"]["value"] for record in records.values()}
    shown = {row[0]: row[6:] for row in rows[2:]}
    for name, (mean, to_random, to_best) in shown.items():
        assert mean == f"{values[name]:.1f} (n=1)"
        if name.startswith("MAE"):
            gain = f"{values[name] - values['random initialisation']:.1f} (n=1)"
            assert to_random.replace("−", "-").lstrip("+") == gain
            assert to_best in ("–", "0.0 (n=1)"), "the two hold the same weights"
    assert (here / "report/tiny-mine/index.html").is_file() and "Report: report/tiny-mine/index.html" in ended.out
    assert not (here / "data").exists(), "no scene was rendered"

    before = {path: path.stat().st_mtime_ns for path in here.rglob("result.json")}
    again = command("compare", *words, cwd=here)
    assert again.code == 0 and before == {path: path.stat().st_mtime_ns for path in here.rglob("result.json")}
    assert "5 of 5 runs are already finished" in again.out
    assert again.out[again.out.index("\n|") :] == ended.out[ended.out.index("\n|") :]


def test_a_row_holds_all_tasks_whatever_options_some_of_them_have(mine, here, finish):
    plan = complete({"encoders": mine, "data": ["mine.py"], "tasks": ["upernet", "knn_seg"], "seeds": [0],
                     "options": {"train_cfg.max_iters": 2}}, "words")  # fmt: skip
    cells = study_of(plan, {"late": "ours, late"}).cells()
    assert len({cell.folder.name for cell in cells}) == 2, "options stand in the folders of upernet's runs alone"
    for cell in cells:
        finish(cell, 20.0, name=cell.label or "early", checkpoint={"sha256": "0" * 64, "encoder": ENCODER})
    found = tables(cells)
    assert found.count("ours, late") == 1 and "missing" not in found


def test_options_that_a_task_does_not_take_are_refused_before_anything_runs(mine, here):
    words = {"encoders": mine, "data": ["mine.py"], "tasks": ["upernet", "knn_seg"], "seeds": [0]}
    for options, said in (({"max_iters": 2}, "nothing reads 'max_iters'"), ({"train_cfg.max_iters": -1}, "max_iters")):
        with pytest.raises(UserError, match=f"^upernet: .*{said}"):
            study_of(complete({**words, "options": options}, "words")).cells()
    with pytest.raises(UserError, match="--seeds 0: it is the number of fine-tunings of each encoder, at least 1"):
        compare.main(["--data", "mine.py", "--encoders", *mine, "--seeds", "0"])
    with pytest.raises(UserError, match="mine is a folder, and a config is a file of Python: overlay.py"):
        (here / "mine/overlay.py").write_text(OVERLAY)
        study_of(complete({**words, "data": ["mine"]}, "words")).cells()


def test_differences_are_paired_with_their_own_architecture(mine, here, finish):
    """Three seeds by hand: means, Student's half-widths and the differences to random weights and to the best."""
    other = {"name": "test_vit", "kwargs": {}}
    plan = complete({"encoders": mine, "data": ["mine.py"], "tasks": ["upernet"], "seeds": [0, 1, 2], "floor": True},
                    "words")  # fmt: skip
    cells = [cell for cell in study_of(plan, {"late": "late"}).cells() if cell.task == "upernet"]
    scores = {"random": (10, 12, 14), "early": (20, 25, 21), "late": (22, 26, 24)}
    for cell in cells:
        name = "random" if cell.method == "random" else str(cell.encoder)
        reference = "floor" if name == "random" else None
        finish(cell, float(scores[name][cell.seed]), method="random" if reference else "mae", name=name,
               reference=reference is not None, reference_kind=reference,
               checkpoint={"sha256": "0" * 64, "encoder": other if name == "late" else ENCODER})  # fmt: skip
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[7:10]]
            for line in tables(cells).splitlines() if line[:1] == "|"}  # fmt: skip

    def half(values):
        mean = sum(values) / 3
        return 4.302653 * math.sqrt(sum((v - mean) ** 2 for v in values) / 2) / math.sqrt(3)  # t(0.975, 2)

    gain = [a - b for a, b in zip(scores["early"], scores["random"], strict=True)]
    loss = [a - b for a, b in zip(scores["early"], scores["late"], strict=True)]
    assert rows["early"][0] == f"22.0 ± {half(scores['early']):.1f} (n=3)"
    assert rows["early"][1] == f"+10.0 ± {half(gain):.1f} (n=3, better)"
    assert rows["early"][2] == f"−2.0 ± {half(loss):.1f} (n=3, ≈ 0)"
    assert rows["late"][1:] == ["–", "–"], "no random weights of its architecture, and it is the best"
    assert rows["random"][1] == "–" and rows["random"][2].endswith("worse)")


def test_words():
    assert named(["a=b=c", "timm:x.y=z"], ["a=b", "a", "timm:x.y"]) == {"a=b": "c", "timm:x.y": "z"}
    assert grid_of(None) is None and grid_of({"layer_decay": 0.9, "lr": [1e-3, 2e-3]}) == {
        "lr": (1e-3, 2e-3), "layer_decay": (0.9,)}  # fmt: skip
    assert grid_of({}) == {"lr": (2e-3, 4e-3), "layer_decay": (0.5, 0.75)}
