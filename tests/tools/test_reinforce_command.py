"""tools/reinforce.py: from a config and a teacher to the folder that training reads."""

import json

import pytest

from engine.errors import UserError
from study.run import run
from tools import reinforce as command


def test_the_command_makes_what_training_takes(configure, tmp_path, monkeypatch, capsys):
    teacher = tmp_path / "teacher"
    run(configure("pretrain/configs/clip_rewritten.py", 2, teacher), "test")
    out = tmp_path / "stored"
    words = ["pretrain/configs/datacompdr.py", "--data", str(tmp_path / "small.py"), "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["reinforce.py", *words, "--teacher", str(teacher / "checkpoint")])
    command.main()
    assert "48 samples, 2 crops each, 1 teachers, 96 values" in capsys.readouterr().out
    options = {
        "model.clip_weight": 0.25, "model.distill_weight": 0.75, "train_dataloader.dataset.reinforcement": str(out)
    }  # fmt: skip
    student = tmp_path / "student"
    run(configure("pretrain/configs/datacompdr.py", 2, student, options=options), "test")
    row = json.loads((student / "curve.jsonl").read_text().splitlines()[-1])
    assert {"loss_clip", "loss_clip_synthetic", "loss_distill", "loss_distill_synthetic"} <= set(row)


def test_arguments_that_make_no_sense_are_refused(monkeypatch):
    words = ["reinforce.py", "pretrain/configs/datacompdr.py", "--teacher", "nowhere"]
    monkeypatch.setattr("sys.argv", [*words, "--augmentations", "0"])
    with pytest.raises(UserError, match="at least one crop"):
        command.main()
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(UserError, match="checkpoint .*nowhere does not exist"):
        command.main()
    monkeypatch.setattr("sys.argv", [words[0], "pretrain/configs/supervised.py", *words[2:]])
    with pytest.raises(UserError, match="learns from data of kind 'image_folder'"):
        command.main()
