"""A whole study on the small export, with a few iterations a run: everything real but the budgets."""

import csv
import json
import shlex
from pathlib import Path

import pytest

from engine.catalogue import TASK
from study import cells as grid
from study.cells import TRIAL_SEED
from study.configure import load_config
from study.local import Local, import_everything
from study.scheduler import Scheduler
from study.studies import Study
from tools.report import main as report

METHODS, TASKS = ("random", "mae"), ("upernet", "depth")
GRID = {"lr": (1e-3, 2e-3), "layer_decay": (0.65,)}
SMALL = {"train_cfg.max_iters": 6, "train_dataloader.batch_size": 4}


@pytest.fixture
def small(elsewhere, overlay, monkeypatch):
    """Work in a directory without runs, where every configuration is small."""
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(Local, "refresh", 0.05)
    import_everything()
    paths = {TASK[room].config.format(method=method) for room in ("pretrain", *TASKS) for method in METHODS}
    overlays = {path: overlay(path) for path in paths}

    def load(path, scale="tiny", options=None, **arguments):
        budget = {} if path.endswith("configs/random.py") and path.startswith("pretrain") else SMALL
        return load_config(path, scale, data=str(overlays[path]), options={**budget, **(options or {})}, **arguments)

    monkeypatch.setattr(grid, "load_config", load)
    return overlays


@pytest.mark.slow
def test_from_scenes_to_a_report_and_again(small, command, elsewhere, tmp_path, capfd):
    cells = Study("tiny", METHODS, TASKS, (0,), GRID).cells()
    assert len(cells) == 2 + 8 + 4
    assert Scheduler(cells, Local(2)).run() == 0, capfd.readouterr().out
    assert [cell.status() for cell in cells] == ["ok"] * len(cells)

    for cell in cells[2:]:
        record = json.loads(cell.outcome.read_text())
        assert (record["method"], record["task"], record["dataset"]) == (cell.method, cell.task, "small-scenes")
        assert record["reference_kind"] == ("floor" if cell.method == "random" else None)
        if cell.point:
            assert (record["role"], record["split"], record["seed"]) == ("trial", "val", TRIAL_SEED)
            assert record["settings"]["iterations"] == 2 and record["settings"]["lr"] == cell.point["lr"]
            assert record["selection"] is None
            continue
        assert (record["role"], record["split"], record["seed"]) == ("final", "test", 0)
        assert record["settings"]["iterations"] == 6 and record["settings"]["train_images"] == 16
        values = [trial["value"] for trial in record["selection"]["trials"]]
        best = (max if cell.task == "upernet" else min)(values)
        assert record["selection"]["chosen"]["lr"] == GRID["lr"][values.index(best)] == record["settings"]["lr"]
        assert len(record["samples"]) == 4
        assert all((cell.folder / name).is_file() for sample in record["samples"] for name in sample.values())

    report(["runs/tiny", "--out", "report"])
    with open("report/main.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert {(row["task"], row["method"]) for row in rows} == {(task, method) for task in TASKS for method in METHODS}
    assert all(row["state"] == "ok" and row["n"] == "1" and float(row["mean"]) >= 0 for row in rows)
    page, text = Path("report/index.html").read_text(), Path("report/report.md").read_text()
    assert "nan" not in text.lower().split() and ">nan<" not in page.lower() and "inf" not in text.lower().split()
    assert "missing" not in text.split("## Published")[0] and page.count("<img") >= 12

    capfd.readouterr()
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    assert Scheduler(cells, Local(2)).run() == 0
    assert before == {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    assert f"{len(cells)} of {len(cells)} runs are already finished" in capfd.readouterr().out

    # The command that a record states, typed by hand with the same small budget, gives its numbers again.
    record = json.loads(cells[-1].outcome.read_text())
    words = shlex.split(record["command"])[2:] + [f"{key}={value}" for key, value in SMALL.items()]
    ended = command("train", *words, "--data", small[words[0]], "--work-dir", tmp_path / "again", cwd=elsewhere)
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "again/result.json").read_text())["metrics"] == record["metrics"]


def test_a_learning_rate_that_breaks_training_is_recorded_and_not_chosen(small):
    study = Study("tiny", ("random",), ("depth",), (0,), {"lr": (1e30, 1e-3), "layer_decay": (0.65,)})
    cells = study.cells()
    assert Scheduler(cells, Local(1)).run() == 1
    assert [cell.status() for cell in cells] == ["ok", "failed", "ok", "ok"]
    failure = json.loads(cells[1].outcome.read_text())
    assert failure["error"].startswith("UserError: ") and "finite" in failure["error"]
    assert "\n" not in failure["error"] and failure["metrics"] == {}
    selection = json.loads(cells[-1].outcome.read_text())["selection"]
    assert selection["trials"][0]["value"] is None and selection["chosen"]["lr"] == 1e-3
    assert "Traceback" in (cells[1].folder / "log.txt").read_text(), "the log has what the record leaves out"
