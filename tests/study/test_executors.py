"""Where cells run: the list for any scheduler, one cell alone, one GPU a run."""

import argparse
import multiprocessing
import os
import shlex
import time

import pytest
import torch

from engine.errors import UserError
from engine.run_folder import FolderInUse, occupied
from study import attempt as attempts
from study import executors, local
from study.cells import Cell
from study.executors import add_options, listing, run_alone
from study.local import Local, visible_gpus
from study.studies import Study

GRID = {"lr": (1e-3, 2e-3), "layer_decay": (0.65,)}


def study(tasks=("depth",)):
    return Study("tiny", ("random", "mae"), tasks, (0,), GRID).cells()


def test_the_list_runs_a_study_in_any_order_that_keeps_to_it(here, finish):
    """A scheduler of a few lines: what is listed after nothing, or after what has ended, can run."""
    cells = study()
    finish(cells[0])
    words = ["tools/study.py", "demo", "--tasks", "depth"]
    lines = listing(cells, words)
    assert lines[0].startswith("#") and len(lines) == len(cells), "the finished one is left out"
    rows = [line.split("\t") for line in lines[1:]]
    of = {number: (after.split(",") if after != "-" else [], shlex.split(command)) for number, after, command in rows}
    done: set[str] = set()
    while len(done) < len(of):
        number = max((k for k in of if k not in done and {*of[k][0]} <= done), key=int)  # the last that may
        assert of[number][1][: len(words) + 2] == ["python", *words, "--cell"]
        cell = next(cell for cell in cells if str(cell.folder) == of[number][1][-1])
        assert all(path.is_file() for path in cell.needs)
        finish(cell)
        done.add(number)
    assert all(cell.status() == "ok" for cell in cells)
    assert len(listing(cells, words)) == 1


def test_a_cell_alone(here, finish, monkeypatch, capsys):
    cells, made, ran = study(), [], []
    monkeypatch.setattr("study.run.ensure_data", made.append)
    monkeypatch.setattr(attempts, "attempt", lambda cell: ran.append(cell.name) or finish(cell))
    with pytest.raises(UserError, match="--cell runs/x is none of this study's 8 runs"):
        run_alone(cells, "runs/x", list)
    with pytest.raises(UserError, match="depth mae seed 0 needs runs/tiny/pretrain/mae/seed0/checkpoint/checkpoint.js"):
        run_alone(cells, "runs/tiny/depth/mae/seed0", list)
    for cell in cells[:-1]:
        finish(cell)
    finish(cells[-1], None)
    for _ in range(2):
        assert run_alone(cells, "runs/tiny/depth/mae/seed0/", lambda of: [cell.name for cell in of]) == 0
    assert (ran, made) == (["depth mae seed 0"], ["depth mae seed 0"]), (
        "a failed one is tried again, a finished one left alone"
    )
    assert capsys.readouterr().out.count("depth mae seed 0: done, rmse 1 m") == 2


def test_options_refuse_what_is_no_number(capsys):
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert parser.parse_args(["--jobs", "3"]).jobs == 3
    for words in (["--jobs", "0"], ["--jobs-per-gpu", "x"]):
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        assert f"'{words[1]}' is no whole number of at least 1" in capsys.readouterr().err


def test_list_may_be_shortened():
    assert [word for word in ("--list", "--li", "--", "list", "--lists") if executors.is_list(word)] == [
        "--list",
        "--li",
    ]


@pytest.mark.parametrize("per_gpu, jobs, held", [(1, None, ["3", "MIG-a"]), (2, None, ["3", "MIG-a"] * 2),
                                                 (2, 3, ["3", "MIG-a", "3"]), (1, 5, ["3", "MIG-a"])])  # fmt: skip
def test_every_run_sees_one_gpu(here, monkeypatch, per_gpu, jobs, held):
    waiting = [Cell("tiny", "pretrain", "random", seed) for seed in range(12)]
    monkeypatch.setattr(local, "import_everything", lambda: None)
    monkeypatch.setattr(local, "attempt_in_turn", lambda cell: print(os.environ["CUDA_VISIBLE_DEVICES"]))
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    executor = Local(jobs, per_gpu, gpus=["3", "MIG-a"])
    assert executor.about == f"{len(held)} at once on 2 GPUs"
    while waiting:
        begun = executor.begin(waiting)
        assert [job.cell for job in begun] == waiting[: len(held)] and executor.begin(waiting) == []
        waiting = waiting[len(held) :]
        for job in begun:
            job.handle[0].join(30)
        executor.look(begun)
        assert [job.state for job in begun] == ["ok"] * len(begun)
        for job, gpu in zip(begun, held[: len(begun)], strict=True):
            assert (job.cell.folder / "log.txt").read_text() == f"{gpu}\n"
        held = [job.handle[1] for job in begun]  # freed in this order
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


def test_the_gpus_are_those_that_torch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-x")
    assert visible_gpus() == ["5", "GPU-x"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert visible_gpus() == [] and Local().at_once == os.cpu_count()


def test_a_folder_in_use_gets_no_record_of_failure(here, finish, monkeypatch):
    cells = study()
    for cell in cells[:-1]:
        finish(cell)

    def run(cfg, command):
        raise FolderInUse("in use by process 1")

    monkeypatch.setattr("study.run.run", run)
    monkeypatch.setattr(type(cells[-1]), "config", lambda self: None)
    with pytest.raises(FolderInUse):
        attempts.attempt(cells[-1])
    assert cells[-1].status() == "open"


@pytest.mark.parametrize("ends", ["finished", "left"])
def test_a_run_of_another_process_is_waited_for(here, finish, monkeypatch, capsys, ends):
    """Two comparisons in one folder share the work."""
    cell, made = study()[-1], []
    monkeypatch.setattr(attempts, "WAIT", 0.02)
    monkeypatch.setattr(attempts, "attempt", made.append)
    fork = multiprocessing.get_context("fork")
    taken = fork.Event()

    def other():
        with occupied(cell.folder):
            taken.set()
            time.sleep(0.3)
            if ends == "finished":
                finish(cell)

    process = fork.Process(target=other)
    process.start()
    assert taken.wait(30)
    attempts.attempt_in_turn(cell)
    process.join(30)
    assert made == ([] if ends == "finished" else [cell])
    assert capsys.readouterr().out.count(f"{cell.folder} is in use by process {process.pid}") == 1
