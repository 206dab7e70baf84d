"""tools/test.py as a person starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

import pretrain  # noqa: F401  registers methods
from backbones import save_checkpoint
from engine.errors import UserError
from reports.records import read_record
from scenes.attributes import ensure_attributes
from study.configure import load_config
from study.run import ensure_data
from tests.pretrain.samples import ENCODER, TEXT
from tools import test as entry

ROOT = Path(__file__).resolve().parents[2]
META = {
    "captions": "aligned", "seed": 0, "scale": "tiny", "data": {"name": "scenes", "samples": 8},
    "samples_seen": 8, "updates": 1, "config_hash": "abc", "code_version": "0", "parent": None, "ledger": None,
    "cost": {"wall_s": 1.0, "samples_per_s": 8.0, "peak_memory_mib": None, "hardware": {"device": "cpu"}},
}  # fmt: skip


def checkpoint(folder, method, **arguments):
    """A checkpoint with random weights."""
    torch.manual_seed(0)
    model = MODELS.build(dict(type=method, encoder=ENCODER, **arguments))
    meta = {**META, **model.checkpoint_meta(), "method": method.lower()}
    meta["image"]["size"] = 32
    save_checkpoint(folder, model.encoder, meta, model.text_state())
    return str(folder)


@pytest.fixture
def start(monkeypatch, capsys):
    """`start("recognition/configs/...", "--checkpoint", ...)`: what one start prints; its refusal is raised."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["tools/test.py", *map(str, words)])
        entry.main()
        return capsys.readouterr().out

    return call


def test_measures_of_a_data_overlay(tmp_path, scenes_root, start):
    ensure_attributes(scenes_root, "test")
    overlay = tmp_path / "mine.py"
    overlay.write_text(
        f'data = dict(name="mine", kind="image_folder", root={str(scenes_root / "imagefolder" / "test")!r})\n'
        'questions = dict(solid=dict(templates="imagenet7"))\n'
    )
    folder = checkpoint(tmp_path / "clip", "CLIP", text={**TEXT, "vocabulary": ["a</w>", "cube</w>"]})
    run = tmp_path / "run"
    words = ("recognition/configs/zero_shot.py", "--checkpoint", folder, "--data", overlay, "--work-dir", run)
    head, *measures, last = start(*words).splitlines()
    assert head == f"zero_shot clip  scale tiny  data mine  -> {run}" and last == f"record: {run}/result.json"
    record = read_record(run / "result.json")
    assert [*record["metrics"]] == [line.split()[0] for line in measures] == ["top1", "mean_per_class", "top5"]
    assert (record["protocol"], record["dataset"]) == ("mine-zero-shot-imagenet7-tiny-v1", "mine")
    assert record["command"].startswith("python tools/test.py recognition/configs/zero_shot.py --checkpoint ")
    begun = json.loads((run / "run.json").read_text())
    assert begun["config_hash"] == record["config_hash"] and begun["config"]["data.name"] == "mine"
    written = (run / "result.json").stat().st_mtime_ns
    with pytest.raises(UserError, match="already holds a finished result"):
        start(*words)
    assert (run / "result.json").stat().st_mtime_ns == written


def test_no_text_tower_is_one_line(tmp_path):
    """As a person starts it."""
    folder, run = checkpoint(tmp_path / "mae", "MAE"), tmp_path / "run"
    words = ("recognition/configs/retrieval.py", "--checkpoint", folder, "--work-dir", str(run))
    command, environment = [sys.executable, "tools/test.py", *words], {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.strip() == f"error: checkpoint {folder} (mae) has no text tower; use one of a contrastive method"
    assert not run.exists()


def test_configs_that_train_are_refused(start):
    with pytest.raises(UserError, match="trains at scale 'tiny': start it by python tools/train.py"):
        start("depth/configs/mae.py")


def test_the_scenes_get_the_class_folders_that_a_config_names(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("scenes.export.ensure", lambda root, counts: made.append((root, counts)))
    monkeypatch.setattr("scenes.attributes.ensure_classes", lambda root, attribute: made.append((root, attribute)))
    folder = checkpoint(tmp_path / "mae", "MAE")
    ensure_data(load_config("recognition/configs/knn.py", checkpoint=folder, scale="study"))
    ensure_data(load_config("recognition/configs/finetune.py", checkpoint=folder))
    ensure_data(load_config("recognition/configs/zero_shot.py", checkpoint=folder))
    assert made == [
        ("data/scenes-study", {"pretrain": 16384}), ("data/scenes-study", "colour"),
        ("data/scenes", None), ("data/scenes", "colour"), ("data/scenes", None),
    ]  # fmt: skip


def test_a_finished_run_has_its_own_settings(start, tmp_path):
    for words in (["--scale", "paper"], ["--seed", "1"], ["--encoder", "mae"], ["--cfg-options", "a=1"], ["--show"]):
        with pytest.raises(UserError, match=f"is a finished run, whose settings stand: leave out {words[0]}"):
            start(tmp_path, *words)
    with pytest.raises(UserError, match="is not a finished run of a fine-tuned model: it has no result.json"):
        start(tmp_path)
    folder = checkpoint(tmp_path / "mae", "MAE")
    with pytest.raises(UserError, match="--save-predictions: knn predicts no classes, boxes or depths of pixels"):
        start("recognition/configs/knn.py", "--checkpoint", folder, "--work-dir", tmp_path / "x", "--save-predictions")
