"""The first stage is trained where it is missing, once, and never without being told."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from engine.errors import UserError
from study import first_stage
from study.configure import load_config

WORDS = ["pretrain/configs/clip.py", "--scale", "tiny", "--seed", "0"]
FAKE = """
import os, pathlib, sys, time
with open("events", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "|" + os.environ.get("RANK", "none") + "\\n")
time.sleep(float(os.environ.get("SLEEP", "0")))
if "FAIL" in os.environ:
    sys.exit(2)
pathlib.Path("runs/tiny/pretrain/clip/seed0/checkpoint").mkdir(parents=True)
"""
CHECKPOINT = Path("runs/tiny/pretrain/clip/seed0/checkpoint")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A tools/train.py that only writes down that it ran, in a folder without runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(FAKE)
    monkeypatch.setattr(first_stage, "TRAIN", tmp_path / "train.py")
    return lambda: (tmp_path / "events").read_text().splitlines() if (tmp_path / "events").exists() else []


def test_it_is_trained_once_and_announced(fake, capfd, monkeypatch):
    monkeypatch.setenv("RANK", "0")  # the launcher's words are not for it
    for _ in range(2):
        first_stage.train_once(CHECKPOINT, WORDS, "pretrain fd seed 0 needs it")
    assert fake() == [" ".join(WORDS) + " --resume|none"]
    said = capfd.readouterr().out.splitlines()
    assert said == [
        "pretrain fd seed 0 needs it: training it first with `python tools/train.py " + " ".join(WORDS) + "`"
    ]


def test_two_runs_at_once_train_it_once(fake, monkeypatch):
    monkeypatch.setenv("SLEEP", "0.5")
    fork = multiprocessing.get_context("fork")
    runs = [fork.Process(target=first_stage.train_once, args=(CHECKPOINT, WORDS, "it")) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0, 0] and len(fake()) == 1


def test_a_training_whose_starter_was_killed_is_waited_for(fake, monkeypatch):
    """Its lock is its own: beginning again beside it would write the same files twice."""
    monkeypatch.setenv("SLEEP", "1.5")
    run = multiprocessing.get_context("fork").Process(target=first_stage.train_once, args=(CHECKPOINT, WORDS, "it"))
    run.start()
    while not fake():
        time.sleep(0.02)
    run.kill()
    run.join()
    assert not CHECKPOINT.exists()
    first_stage.train_once(CHECKPOINT, WORDS, "it")
    assert CHECKPOINT.exists() and len(fake()) == 1


def test_a_first_stage_that_fails_ends_the_second(fake, monkeypatch):
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(UserError, match="the first stage ended with exit status 2"):
        first_stage.train_once(CHECKPOINT, WORDS, "it")


@pytest.mark.parametrize("own_data", [False, True])
def test_on_the_embedded_data_alone(fake, monkeypatch, own_data):
    cfg = load_config(Path(first_stage.__file__).parents[1] / "pretrain/configs/fd.py")
    if own_data:
        cfg.data.pop("scenes_root")
    # the fake leaves an empty folder, so taking it is refused by another sentence than one that is missing
    with pytest.raises(UserError, match="does not exist; make it with" if own_data else "is not a checkpoint"):
        first_stage.take_parent(cfg)
    assert len(fake()) == (0 if own_data else 1)


def test_a_folder_by_name_is_never_made(fake):
    config = Path(first_stage.__file__).parents[1] / "pretrain/configs/fd.py"
    with pytest.raises(UserError, match="elsewhere does not exist"):
        first_stage.take_parent(load_config(config, checkpoint="elsewhere"))
    assert not fake() and not os.path.exists("runs")
