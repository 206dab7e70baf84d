"""The scheduler, with runs that only write down when they began and ended."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from reports.records import read_record
from study import local
from study import scheduler as schedule
from study.cells import Cell
from study.local import Local
from study.scheduler import Scheduler
from study.studies import Study
from tests.commands import ROOT


@pytest.fixture
def fakes(here, finish, monkeypatch):
    """Let every cell take 0.1 s; those whose name is in `bad` fail in the way that it says."""
    bad: dict[str, str] = {}
    monkeypatch.setattr(local, "import_everything", lambda: None)

    def note(event: str, cell: Cell) -> None:
        with open("events", "a") as handle:
            handle.write(f"{event}\t{cell.name}\n")

    def run_cell(cell: Cell, gpu: str | None, spent) -> None:
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

    monkeypatch.setattr(local, "run_cell", run_cell)
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
    assert Scheduler(cells, Local(jobs)).run() == 0
    assert all(cell.status() == "ok" for cell in cells)
    happened, running, most = events(), set(), 0
    for event, name in happened:
        (running.add if event == "begin" else running.remove)(name)
        most = max(most, len(running))
    assert most <= max(1, jobs)
    assert Counter(happened) == Counter((event, cell.name) for cell in cells for event in ("begin", "end"))
    for cell in cells:
        for needed in cells:
            if needed.outcome in cell.needs:
                assert happened.index(("end", needed.name)) < happened.index(("begin", cell.name))
    if jobs == 1:
        assert [name for event, name in happened if event == "begin"] == [cell.name for cell in cells]


def test_two_jobs_run_at_the_same_time(fakes, monkeypatch):
    """Each of two runs waits until the other has begun."""
    pair = study()[:2]

    def run_cell(cell, gpu, spent):
        Path(cell.name).touch()
        until = time.monotonic() + 20
        while not all(Path(other.name).exists() for other in pair):
            if time.monotonic() > until:
                os._exit(1)
            time.sleep(0.01)
        os._exit(0)

    monkeypatch.setattr(local, "run_cell", run_cell)
    assert Scheduler(pair, Local(2)).run() == 0


def test_finished_cells_never_run_twice(fakes, finish, capsys, monkeypatch):
    cells = study()
    for cell in cells[:3]:
        finish(cell)
    before = [cell.outcome.stat().st_mtime_ns for cell in cells[:3]]
    assert Scheduler(cells, Local(2)).run() == 0
    assert sorted(begun()) == sorted(cell.name for cell in cells[3:])
    assert before == [cell.outcome.stat().st_mtime_ns for cell in cells[:3]]
    assert f"3 of {len(cells)} runs are already finished" in capsys.readouterr().out
    monkeypatch.setattr(local, "import_everything", lambda: pytest.fail("nothing to do, nothing to import"))
    assert Scheduler(cells, Local(2)).run() == 0 and begun() == []


@pytest.mark.parametrize("way", ["exit", "killed"])
def test_a_failed_pretraining_leaves_its_cells_open_and_the_others_finish(fakes, capsys, way):
    cells = study()
    fakes["pretrain mae seed 0"] = way
    assert Scheduler(cells, Local(2)).run() == 1
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
    assert Scheduler(cells, Local(2)).run() == 0
    assert begun()[0] == "pretrain mae seed 0" and all(cell.status() == "ok" for cell in cells)


def test_a_failed_cell_is_tried_again(fakes):
    cells = study()
    fakes["depth mae seed 0"] = "record"
    assert Scheduler(cells, Local(2)).run() == 1
    events()
    assert cells[-1].status() == "failed" and read_record(cells[-1].outcome)["error"] == "why"
    assert Scheduler(cells, Local(2)).run() == 1, "still broken"
    assert begun() == ["depth mae seed 0"]
    fakes.clear()
    assert Scheduler(cells, Local(2)).run() == 0
    assert begun() == ["depth mae seed 0"] and cells[-1].status() == "ok"


def test_a_failed_trial_does_not_hold_up_its_study(fakes):
    cells = study(("mae",), ("depth",), {"lr": (1e-3, 2e-3), "layer_decay": (0.65,)})
    fakes[cells[1].name] = "record"
    assert Scheduler(cells, Local(2)).run() == 1, "it is reported"
    assert [cell.status() for cell in cells] == ["ok", "failed", "ok", "ok"]


def test_status_line(fakes, finish, capsys, monkeypatch):
    """Which cell of how many runs, its loss, and a time left."""
    monkeypatch.setattr(schedule, "QUIET", 0.0)
    cells = study(("mae",), ("depth",))
    finish(cells[0])
    cells[1].folder.mkdir(parents=True)
    state = {"iteration": 20, "max_iters": 300, "loss": 1.23456, "eta_s": 61.0}
    (cells[1].folder / "progress.json").write_text(json.dumps(state))
    assert Scheduler(cells, Local(1)).run() == 0
    said = capsys.readouterr().out
    assert "[1/2 done, ETA 1:01] depth mae seed 0 20/300 loss 1.235" in said
    assert re.search(r"depth mae seed 0: done in 0:\d\d, rmse 1 ", said)


def test_an_interrupted_study_takes_its_runs_with_it(fakes, monkeypatch):
    def interrupt(self):
        assert len(self.running) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(Scheduler, "show", interrupt)
    monkeypatch.setattr(local, "run_cell", lambda cell, gpu, spent: time.sleep(60))
    scheduler = Scheduler(study(), Local(2))
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    for job in scheduler.jobs:
        process, *_ = job.handle
        process.join(5)
        assert process.exitcode == -signal.SIGTERM


STOPPED = """
import sys, time
sys.path[:0] = [{root!r}, {root!r} + "/tools"]
import compat, start
from pathlib import Path
from engine.stop import StopSignals
from study import local
from study.cells import Cell
from study.scheduler import Scheduler

def attempt(cell):
    with StopSignals() as stop:
        Path("begun").touch()
        while not stop.wanted:
            time.sleep(0.05)
        time.sleep(0.5)  # the iteration ends, the state is written
        Path("saved").touch()

local.import_everything, local.attempt_in_turn = (lambda: None), attempt
start.run(lambda words: Scheduler([Cell("tiny", "pretrain", "mae", 0)], local.Local(1)).run(), advice="go on")
"""


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_study_that_is_asked_to_stop_lets_its_runs_save_their_states(tmp_path, number, status):
    script = tmp_path / "script.py"
    script.write_text(STOPPED.format(root=str(ROOT)))
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background may ignore it
    study = subprocess.Popen([sys.executable, script], cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    try:
        while study.poll() is None and not (tmp_path / "begun").exists():
            time.sleep(0.05)
        study.send_signal(number)
        _, said = study.communicate(timeout=60)
    finally:
        study.kill()
    assert (study.returncode, said.splitlines()) == (status, ["interrupted: go on"])
    assert (tmp_path / "saved").exists()


def test_runs_end_with_a_study_that_is_killed(tmp_path):
    """kill -9 of the study leaves no orphan that would write beside the study that is started next."""
    script = (
        "import multiprocessing, os, time\n"
        "import compat\n"  # before all that needs it, as every entry point does
        "from study.local import die_with_parent\n"
        "def body():\n"
        "    die_with_parent()\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "multiprocessing.get_context('fork').Process(target=body).start()\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.1)
    child = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":  # dead, waiting for init to collect it
            return
        time.sleep(0.1)
    raise AssertionError("the run outlived its study")
