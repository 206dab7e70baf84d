"""tools/test.py as a person starts it."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from mmengine.registry import MODELS

import pretrain  # noqa: F401  registers methods
from backbones import save_checkpoint
from scenes.attributes import ensure_attributes
from tests.pretrain.samples import ENCODER, TEXT

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


def start(*words):
    """(exit status, standard output, standard error) of one start."""
    command = [sys.executable, "tools/test.py", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return done.returncode, done.stdout, done.stderr


def test_measures_of_a_data_overlay(tmp_path, scenes_root):
    ensure_attributes(scenes_root, "test")
    overlay = tmp_path / "mine.py"
    overlay.write_text(
        f'data = dict(name="mine", kind="image_folder", root={str(scenes_root / "imagefolder" / "test")!r})\n'
        'questions = dict(solid=dict(templates="imagenet7"))\n'
    )
    folder = checkpoint(tmp_path / "clip", "CLIP", text={**TEXT, "vocabulary": ["a</w>", "cube</w>"]})
    status, out, err = start("recognition/configs/zero_shot.py", "--checkpoint", folder, "--data", overlay)
    assert status == 0, err
    head, *measures = out.splitlines()
    assert head == "zero_shot clip  scale tiny  data mine"
    assert [line.split("  ")[0] for line in measures] == ["solid top-1", "solid mean per class", "solid top-5"]


def test_no_text_tower_is_one_line(tmp_path):
    folder = checkpoint(tmp_path / "mae", "MAE")
    status, out, err = start("recognition/configs/retrieval.py", "--checkpoint", folder)
    assert status == 2 and out == ""
    assert err.strip() == f"error: checkpoint {folder} (mae) has no text tower; use one of a contrastive method"


def test_configs_of_other_rooms_are_refused(tmp_path):
    status, _, err = start("depth/configs/mae.py", "--checkpoint", tmp_path)
    assert status == 2 and "use python tools/train.py for it" in err
