"""The cells of a study, the choice of settings, and the scheduler on cells that take no time."""

import argparse
import json
import os
import shlex
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import DictAction

from engine.config import load_config
from engine.errors import UserError
from reports.records import read_record, write_record
from tools import schedule
from tools.grid import TRIAL_SEED, Cell, Study, choose, points
from tools.schedule import Scheduler
from tools.study import PLANS, TASKS

GRID = {"lr": (1e-3, 2e-3), "layer_decay": (0.65, 0.9)}


@pytest.fixture
def here(elsewhere, monkeypatch):
    """Work in a directory without runs; look at the scheduler's cells quickly."""
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(schedule, "REFRESH", 0.01)
    return elsewhere


def finish(cell: Cell, value: float | None = 1.0) -> None:
    """Leave what a finished run leaves; `value` None: what a failed one leaves."""
    if cell.task == "pretrain":
        cell.outcome.parent.mkdir(parents=True)
        cell.outcome.write_text("{}")
        return
    name, direction = ("rmse", "down") if cell.task == "depth" else ("mIoU", "up")
    metrics = {name: {"value": value, "unit": "", "direction": direction, "primary": True},
               "aAcc": {"value": -100 * (value or 0), "unit": "", "direction": "up", "primary": False}}  # fmt: skip
    write_record(cell.folder, {
        "schema": "densebench/result", "version": 1, "task": cell.task, "protocol": "p", "dataset": "d",
        "status": "failed" if value is None else "ok", "error": "why" if value is None else None,
        "metrics": {} if value is None else metrics, "split": "val" if cell.point else "test", "scale": cell.scale,
        "role": "trial" if cell.point else "final", "method": cell.method, "method_name": cell.method, "captions": None,
        "reference": False, "reference_kind": None, "head": "h", "seed": cell.seed, "samples": [], "selection": None,
        "checkpoint": {"sha256": "0" * 64, "encoder": {"name": "e", "kwargs": {}}}, "command": "", "versions": {},
        "settings": dict.fromkeys(("lr", "layer_decay", "iterations", "batch_size", "train_images")),
        "budget": dict.fromkeys(("pretrain_updates", "pretrain_samples")), "config_hash": "0" * 8, "code_version": "0",
        "cost": dict.fromkeys(("pretrain_wall_s", "pretrain_samples_per_s", "finetune_wall_s", "finetune_samples_per_s",
                               "peak_memory_mib", "parameters", "flops")),
        "hardware": {"device": "cpu", "cpu": "c", "threads": 1},
    })  # fmt: skip


def trials(task, values):
    cells = [Cell("tiny", task, "mae", 0, point) for point in points(GRID)]
    for cell, value in zip(cells, values, strict=True):
        finish(cell, value)
    return cells


@pytest.mark.parametrize(
    "task, values, best",
    [
        ("upernet", [30, 33, 32, 31], 1),  # mIoU: the larger the better
        ("depth", [0.9, 0.7, 0.6, 0.8], 2),  # RMSE: the smaller the better
        ("upernet", [30, 33, 33, 33], 1),  # the first of equals
        ("depth", [0.7, 0.6, 0.6, 0.8], 1),
        ("upernet", [None, 20, None, 21], 3),
        ("depth", [None, 0.9, 0.8, None], 2),
        ("upernet", [None, None, None, 0], 3),  # zero is a value
    ],
)
def test_choice_of_settings(here, task, values, best):
    chosen = choose(trials(task, values), GRID)
    expected = [dict(lr=lr, layer_decay=decay) for lr in (1e-3, 2e-3) for decay in (0.65, 0.9)]
    assert chosen["chosen"] == expected[best]
    assert chosen["metric"] == ("val rmse" if task == "depth" else "val mIoU")
    assert chosen["grid"] == {"lr": [1e-3, 2e-3], "layer_decay": [0.65, 0.9]}
    assert chosen["trials"] == [e | {"value": v} for e, v in zip(expected, values, strict=True)]


def test_no_trial_to_choose_from(here):
    with pytest.raises(UserError, match="every trial below runs/tiny/trials/upernet/mae failed: see their result.json"):
        choose(trials("upernet", [None] * 4), GRID)


def counted(cells):
    return Counter("pretrain" if c.task == "pretrain" else "trial" if c.point else "final" for c in cells)


@pytest.mark.parametrize("anew", [False, True])
def test_cells_of_the_whole_study(anew):
    plan = PLANS["study"]
    cells = Study(plan.scale, plan.methods, TASKS, plan.seeds, plan.grid, anew).cells()
    methods, tasks, seeds, size = 7, 4, 3, 4
    pretrainings = methods * seeds if anew else methods + seeds - 1  # random initialisation: one for every seed
    rows = methods * tasks
    assert counted(cells) == {"pretrain": pretrainings, "trial": rows * size, "final": rows * seeds}
    assert len({c.folder for c in cells}) == len({c.name for c in cells}) == len(cells), "two runs in one folder"
    kinds = ["pretrain" if c.task == "pretrain" else "trial" if c.point else "final" for c in cells]
    assert kinds == sorted(kinds, key=["pretrain", "trial", "final"].index)

    per_method = Counter((c.method, c.task) for c in cells if c.point)
    assert set(per_method.values()) == {size} and len(per_method) == methods * tasks
    made = {c.outcome: position for position, c in enumerate(cells)}
    for position, cell in enumerate(cells):
        assert all(made[need] < position for need in cell.needs), "a need that comes later, or never"
        if cell.task == "pretrain":
            assert not cell.needs and cell.encoder is None
            continue
        source = cell.seed if not cell.point and (anew or cell.method == "random") else plan.seeds[0]
        assert cell.encoder == Path(f"runs/study/pretrain/{cell.method}/seed{source}/checkpoint")
        assert cell.needs[0] == cell.encoder / "checkpoint.json"
        if not cell.point:
            own = [c for c in cells if c.point and (c.method, c.task) == (cell.method, cell.task)]
            assert cell.trials == own and cell.needs[1:] == [c.outcome for c in own] and cell.grid == plan.grid
            assert cell.folder == Path(f"runs/study/{cell.task}/{cell.method}/seed{cell.seed}")


def test_cells_of_the_demo():
    plan = PLANS["demo"]
    cells = Study(plan.scale, plan.methods, TASKS, plan.seeds, plan.grid).cells()
    assert counted(cells) == {"pretrain": 4, "final": 16}
    assert {c.folder.parts[:2] for c in cells} == {("runs", "tiny")}


def test_methods_and_seeds_named_twice_run_once(command, here, monkeypatch):
    monkeypatch.setattr(Scheduler, "run", lambda self: print([c.name for c in self.cells]) or 0)
    named = ("--methods", "mae", "mae", "--tasks", "depth", "depth", "--seeds", 1, 1)
    ended = command("study", "demo", *named, cwd=here)
    assert ended.code == 0 and "['pretrain mae seed 1', 'depth mae seed 1']" in ended.out


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match="unknown method 'mea': choose among .*mae"):
        Study("tiny", ("mae", "mea"), TASKS, (0,), None).cells()


def test_status(here):
    cell, failed, pretraining = (
        Cell("tiny", task, method, 0) for task, method in (("depth", "mae"), ("depth", "clip"), ("pretrain", "mae"))
    )
    assert cell.status() == failed.status() == pretraining.status() == "open"
    finish(cell)
    finish(failed, None)
    finish(pretraining)
    assert (cell.status(), failed.status(), pretraining.status()) == ("ok", "failed", "ok")
    cell.outcome.write_text(cell.outcome.read_text()[:-40])
    with pytest.raises(UserError, match="runs/tiny/depth/mae/seed0/result.json"):
        cell.status()


def test_a_cells_configuration_and_its_command_agree(here):
    """The command in the record, typed by hand, computes what the study computed."""
    cells = Study("tiny", ("mae",), ("depth",), (5,), GRID).cells()
    pretraining, own, final = cells[0], cells[1:-1], cells[-1]
    for cell, value in zip(own, [0.9, 0.5, 0.6, 0.7], strict=True):
        finish(cell, value)
    full = load_config("depth/configs/mae.py").train_cfg.max_iters
    for cell, seed, lr, decay in ((own[2], TRIAL_SEED, 2e-3, 0.65), (final, 5, 1e-3, 0.9)):
        cfg = cell.config()
        optimizer = cfg.optim_wrapper.optimizer
        assert (cfg.seed, optimizer.lr, cfg.optim_wrapper.paramwise_cfg.layer_decay) == (seed, lr, decay)
        assert cfg.train_cfg.max_iters == (round(full / 2) if cell.point else full)
        assert cfg.role == ("trial" if cell.point else "final") and cfg.resume and cfg.work_dir == str(cell.folder)
        words = shlex.split(cell.command)
        assert words[:3] == ["python", "tools/train.py", "depth/configs/mae.py"]
        parser = argparse.ArgumentParser()
        for flag, kind in (("--scale", str), ("--seed", int), ("--checkpoint", str)):
            parser.add_argument(flag, type=kind)
        parser.add_argument("--cfg-options", nargs="+", action=DictAction)
        named = vars(parser.parse_args(words[3:]))
        typed = load_config(words[2], options=named.pop("cfg_options"), **named)
        skipped = ("selection", "config_hash", "work_dir", "resume")
        ours, theirs = ({k: v for k, v in c.to_dict().items() if k not in skipped} for c in (cfg, typed))
        assert ours == theirs
    assert final.config().selection.chosen.to_dict() == {"lr": 1e-3, "layer_decay": 0.9}
    assert pretraining.command == "python tools/train.py pretrain/configs/mae.py --scale tiny --seed 5"


# The scheduler, with runs that only write down when they began and ended.


@pytest.fixture
def fakes(here, monkeypatch):
    """Let every cell take 0.1 s; those whose name is in `bad` fail in the way that it says."""
    bad: dict[str, str] = {}
    monkeypatch.setattr(schedule, "import_everything", lambda: None)

    def note(event: str, cell: Cell) -> None:
        with open("events", "a") as handle:
            handle.write(f"{event}\t{cell.name}\n")

    def run_cell(cell: Cell) -> None:
        note("begin", cell)
        assert all(path.is_file() for path in cell.needs)
        time.sleep(0.1)
        way = bad.get(cell.name)
        note("end", cell)
        if way == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "record":
            finish(cell, None)
        if way is None:
            finish(cell)
        os._exit(0 if way is None else 1)

    monkeypatch.setattr(schedule, "run_cell", run_cell)
    return bad


def events() -> list[tuple[str, str]]:
    """What happened since the last look."""
    path = Path("events")
    found = [tuple(line.split("\t")) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def begun() -> list[str]:
    return [name for event, name in events() if event == "begin"]


def study(methods=("random", "mae"), tasks=("upernet", "depth"), grid=None):
    return Study("tiny", methods, tasks, (0,), grid).cells()


@pytest.mark.parametrize("jobs", [1, 2, 3, 0])
def test_every_cell_runs_once_after_what_it_needs_and_no_more_than_jobs_at_a_time(fakes, jobs):
    cells = study(grid={"lr": (1e-3, 2e-3), "layer_decay": (0.65,)})
    assert Scheduler(cells, jobs).run() == 0
    assert all(cell.status() == "ok" for cell in cells)
    happened, running, most = events(), set(), 0
    for event, name in happened:
        (running.add if event == "begin" else running.remove)(name)
        most = max(most, len(running))
    assert most == max(1, jobs)
    assert Counter(happened) == Counter((event, cell.name) for cell in cells for event in ("begin", "end"))
    for cell in cells:
        for needed in cells:
            if needed.outcome in cell.needs:
                assert happened.index(("end", needed.name)) < happened.index(("begin", cell.name))
    if jobs == 1:
        assert [name for event, name in happened if event == "begin"] == [cell.name for cell in cells]


def test_finished_cells_never_run_twice(fakes, capsys, monkeypatch):
    cells = study()
    for cell in cells[:3]:
        finish(cell)
    before = [cell.outcome.stat().st_mtime_ns for cell in cells[:3]]
    assert Scheduler(cells, 2).run() == 0
    assert sorted(begun()) == sorted(cell.name for cell in cells[3:])
    assert before == [cell.outcome.stat().st_mtime_ns for cell in cells[:3]]
    assert f"3 of {len(cells)} runs are already finished" in capsys.readouterr().out
    monkeypatch.setattr(schedule, "import_everything", lambda: pytest.fail("nothing to do, nothing to import"))
    assert Scheduler(cells, 2).run() == 0 and begun() == []


@pytest.mark.parametrize("way", ["exit", "killed"])
def test_a_failed_pretraining_leaves_its_cells_open_and_the_others_finish(fakes, capsys, way):
    cells = study()
    fakes["pretrain mae seed 0"] = way
    assert Scheduler(cells, 2).run() == 1
    assert sorted(begun()) == ["depth random seed 0", "pretrain mae seed 0", "pretrain random seed 0",
                               "upernet random seed 0"]  # fmt: skip
    assert {cell.name: cell.status() for cell in cells} == {
        cell.name: "ok" if cell.method == "random" else "open" for cell in cells
    }
    said = capsys.readouterr().out
    assert "pretrain mae seed 0: FAILED after" in said and "runs/tiny/pretrain/mae/seed0/log.txt" in said
    reported = [line.split(";")[0] for line in said.splitlines() if line.startswith("failed: ")]
    assert reported == ["failed: pretrain mae seed 0", "failed: upernet mae seed 0", "failed: depth mae seed 0"]

    fakes.clear()
    assert Scheduler(cells, 2).run() == 0
    assert begun()[0] == "pretrain mae seed 0" and all(cell.status() == "ok" for cell in cells)


def test_a_failed_cell_is_tried_again(fakes):
    cells = study()
    fakes["depth mae seed 0"] = "record"
    assert Scheduler(cells, 2).run() == 1
    events()
    assert cells[-1].status() == "failed" and read_record(cells[-1].outcome)["error"] == "why"
    assert Scheduler(cells, 2).run() == 1, "still broken"
    assert begun() == ["depth mae seed 0"]
    fakes.clear()
    assert Scheduler(cells, 2).run() == 0
    assert begun() == ["depth mae seed 0"] and cells[-1].status() == "ok"


def test_a_failed_trial_does_not_hold_up_its_study(fakes):
    cells = study(("mae",), ("depth",), {"lr": (1e-3, 2e-3), "layer_decay": (0.65,)})
    fakes[cells[1].name] = "record"
    assert Scheduler(cells, 2).run() == 1, "it is reported"
    assert [cell.status() for cell in cells] == ["ok", "failed", "ok", "ok"]


def test_status_line(fakes, capsys, monkeypatch):
    """Which cell of how many runs, its loss, and a time left."""
    monkeypatch.setattr(schedule, "QUIET", 0.0)
    cells = study(("mae",), ("depth",))
    finish(cells[0])
    cells[1].folder.mkdir(parents=True)
    state = {"iteration": 20, "max_iters": 300, "loss": 1.23456, "eta_s": 61.0}
    (cells[1].folder / "progress.json").write_text(json.dumps(state))
    assert Scheduler(cells, 1).run() == 0
    said = capsys.readouterr().out
    assert "[1/2 done, ETA 1:01] depth mae seed 0 20/300 loss 1.235" in said
    assert "depth mae seed 0: done in 0:00, rmse 1 " in said


def test_an_interrupted_study_takes_its_runs_with_it(fakes, monkeypatch):
    def interrupt(self):
        assert len(self.running) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(Scheduler, "show", interrupt)
    scheduler = Scheduler(study(), 2)
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    for process in scheduler.running:
        process.join(5)
        assert process.exitcode == -signal.SIGTERM
