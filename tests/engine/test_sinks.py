"""A sink shows the training curve, each row once, and changes nothing of the run; without its library, one sentence."""

import json
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from engine import sinks
from engine.errors import UserError
from tests.engine.test_resume import ITERS, KILLED_AT, assert_identical, kill_during, train

MAE = "pretrain/configs/mae.py"


class Writer:
    """Stands in for torch's SummaryWriter: a line per value, on disk at `flush`, as an event file has it."""

    def __init__(self, folder):
        self.file = Path(folder, f"events.{len(list(Path(folder).iterdir()))}")
        self.file.touch()
        self.waiting = []

    def add_scalar(self, name, value, step):
        torch.rand(3)  # a library may draw numbers
        self.waiting.append(json.dumps([name, value, step]) + "\n")

    def flush(self):
        with open(self.file, "a") as handle:
            handle.writelines(self.waiting)
        self.waiting = []

    def close(self):
        self.flush()


def wandb_in(folder: Path) -> ModuleType:
    """A stand-in for wandb that appends what it is told to `calls.jsonl`."""
    module = ModuleType("wandb")

    def note(name):
        def call(*arguments, **named):
            with open(folder / "calls.jsonl", "a") as handle:
                handle.write(json.dumps([name, list(arguments), named]) + "\n")

        return call

    for name in ("init", "define_metric", "log", "join"):
        setattr(module, name, note(name))
    return module


@pytest.fixture
def tensorboard(monkeypatch):
    """Put `Writer` where mmengine's backend looks for torch's."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))


def run_with(configure, config, folder, sink, kill=None, **arguments):
    """`test_resume.train` with a sink."""
    from study.run import run

    cfg = configure(config, ITERS, folder, options={"state_interval": 2, "progress_interval": 1}, **arguments)
    if kill:
        kill_during(kill)
    run(cfg, "test", sink=sink)


def curve(folder):
    """The rows of `curve.jsonl` as TensorBoard stores them: [name, value, step]."""
    rows = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    return [[name, value, row["iteration"]] for row in rows for name, value in row.items() if name != "iteration"]


def events(folder):
    """What all event files of a run hold together."""
    files = sorted((folder / "tensorboard").iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_tensorboard_through_an_interruption(configure, in_child, tmp_path, tensorboard):
    """Killed and resumed with a sink: the tensors, hash and settings of a run without one, and each row there once."""
    plain, shown = tmp_path / "plain", tmp_path / "shown"
    assert in_child(lambda: train(configure, MAE, plain)) == 0
    assert in_child(lambda: run_with(configure, MAE, shown, "tensorboard", KILLED_AT)) == -signal.SIGKILL
    assert events(shown) == curve(shown) and len(curve(shown)) > KILLED_AT - 1, "shown at once, not at the end"
    assert in_child(lambda: run_with(configure, MAE, shown, "tensorboard", resume=True)) == 0
    assert_identical(plain, shown)
    assert events(shown) == curve(shown)
    documents = [json.loads((folder / "run.json").read_text()) for folder in (plain, shown)]
    assert documents[0] == documents[1]
    assert not (plain / "tensorboard").exists()


def test_wandb_in_fine_tuning(configure, in_child, tmp_path, monkeypatch):
    from study.run import run

    monkeypatch.setitem(sys.modules, "wandb", wandb_in(tmp_path))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    assert in_child(lambda: run(configure("pretrain/configs/random.py", 0, tmp_path / "random"), "test")) == 0
    words = dict(checkpoint=str(tmp_path / "random" / "checkpoint"))
    plain, shown, config = tmp_path / "plain", tmp_path / "shown", "depth/configs/random.py"
    assert in_child(lambda: train(configure, config, plain, **words)) == 0
    assert in_child(lambda: run_with(configure, config, shown, "wandb", **words)) == 0
    assert_identical(plain, shown)
    records = [json.loads((folder / "result.json").read_text()) for folder in (plain, shown)]
    assert all(records[0][key] == records[1][key] for key in ("metrics", "config_hash", "settings", "checkpoint"))
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [name for name, *_ in calls] == ["init", "define_metric", *["log"] * ITERS, "join"]
    assert calls[0][2]["project"] == "densebench" and calls[0][2]["config"]["config_hash"] == records[1]["config_hash"]
    assert calls[1][2] == {"name": "*", "step_metric": "iteration"}
    assert [row for name, (row,), _ in (c for c in calls if c[0] == "log")] == [
        json.loads(line) for line in (shown / "curve.jsonl").read_text().splitlines()]  # fmt: skip


def test_the_library_is_absent(monkeypatch, tmp_path):
    sinks.check_sink(None)
    monkeypatch.setattr(sinks, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--sink wandb needs a library that is not here: pip install wandb \("):
        sinks.check_sink("wandb")
    monkeypatch.undo()
    (tmp_path / "unheard_of").mkdir()  # what an earlier run left is no library
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="pip install unheard_of"):
        sinks.check_sink("unheard_of")


def test_a_sink_that_cannot_start(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise RuntimeError("no login\nat all")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    cfg = dict.fromkeys(("task", "method", "scale", "seed", "config_hash"), "x")
    with pytest.raises(UserError) as error:
        sinks.SinkHook("wandb").before_train_epoch(SimpleNamespace(work_dir=str(tmp_path), cfg=cfg))
    assert str(error.value).startswith("--sink wandb could not start (RuntimeError: no login at all): ")
