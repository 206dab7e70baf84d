"""Two stages: what a parent gives its child, what the child's checkpoint says of it, and that resuming is exact."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pretrain
from backbones import read_checkpoint, read_ledger
from engine.errors import UserError
from pretrain.parent import FrozenTeacher, check_start, fill_parent
from study.configure import load_config
from tests.engine.test_resume import KILLED_AT, assert_identical, train
from tests.pretrain.parents import TINY, write_parent

ROLES = {"wsp": ("mae", "start"), "fd": ("clip", "teacher")}


def run(cfg) -> dict:
    from study.run import run

    run(cfg, "test")
    return read_checkpoint(Path(cfg.work_dir) / "checkpoint")


@pytest.mark.parametrize("method", ROLES)
def test_the_checkpoint_names_its_parent(configure, tmp_path, method):
    parent, role = ROLES[method]
    grandparent = {
        "role": "start", "method": "mae", "captions": None, "seed": 4, "samples_seen": 7, "config_hash": "ab",
        "sha256": "0" * 64,
    }  # fmt: skip
    folder = write_parent(tmp_path / "parent", parent, captions="noisy", seed=3, parent=grandparent)
    meta = run(configure(f"pretrain/configs/{method}.py", 2, checkpoint=str(folder)))
    first = read_checkpoint(folder)
    assert meta["parent"] == {
        "role": role, "method": parent, "captions": "noisy", "seed": 0, "scale": "tiny", "samples_seen": 640,
        "config_hash": "abcdef01", "sha256": first["sha256"]["encoder.safetensors"], "wall_s": 1.5,
        "parent": grandparent,
    }  # fmt: skip
    assert (meta["samples_seen"], meta["updates"]) == (16, 2), "the second stage's own"
    assert (meta["ledger"] is None) == (role == "teacher")
    if role == "start":
        path = tmp_path / "ledger.json"
        path.write_text(json.dumps(meta["ledger"]))
        ledger = read_ledger(path)
        assert set(ledger.loaded) == set(load_file(folder / "encoder.safetensors")) and not ledger.new


def test_a_start_fills_the_encoder_and_a_run_of_no_updates_leaves_it(configure, tmp_path):
    folder = write_parent(tmp_path / "parent")
    run(configure("pretrain/configs/wsp.py", 0, checkpoint=str(folder), options={"param_scheduler": []}))
    ours, theirs = (load_file(f / "encoder.safetensors") for f in (tmp_path / "run/checkpoint", folder))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_any_method_can_start_from_a_checkpoint_and_its_teacher_too(configure, tmp_path):
    """What a method copies from its encoder (MaskCLIP's teacher), it copies after the encoder was filled."""
    folder = write_parent(tmp_path / "parent")
    cfg = configure("pretrain/configs/maskclip.py", 2, checkpoint=str(folder))
    fill_parent(cfg)
    pretrain.fill(cfg)
    from mmengine.registry import MODELS

    model = MODELS.build(cfg.model)
    stored = load_file(folder / "encoder.safetensors")
    assert all(torch.equal(value, stored[key]) for key, value in model.encoder.state_dict().items())
    assert all(torch.equal(value, stored[key]) for key, value in model.teacher.module.state_dict().items())
    check_start(model, folder)


def test_a_method_that_draws_its_encoder_anew_is_refused_as_a_second_stage(configure, tmp_path):
    folder = write_parent(tmp_path / "parent", "clip")
    with pytest.raises(UserError, match=r"MAE sets \d+ tensors of its encoder itself.*cannot start from .*parent"):
        run(configure("pretrain/configs/mae.py", 2, checkpoint=str(folder)))


def test_image_constants_are_those_of_the_start(configure, tmp_path):
    own = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "size": 64}
    folder = write_parent(tmp_path / "parent", image=own)
    cfg = configure("pretrain/configs/wsp.py", 1, checkpoint=str(folder))
    assert run(cfg)["image"] == own
    cfg = configure("pretrain/configs/wsp.py", 1, tmp_path / "other", checkpoint=str(folder),
                    options={"model.data_preprocessor.mean": [0.485, 0.456, 0.406]})  # fmt: skip
    with pytest.raises(UserError, match=r"mean is \[0.485, 0.456, 0.406\], but .* trained with \[0.5, 0.4, 0.3\]"):
        fill_parent(cfg)


def test_a_teacher_keeps_its_own_image_constants(tmp_path):
    folder = write_parent(tmp_path / "t", image={"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "size": 64})
    mean, std = [0.1, 0.2, 0.3], [0.9, 0.8, 0.7]
    teacher = FrozenTeacher(folder, mean, std)
    pixels = torch.rand(2, 3, 64, 64, dtype=torch.float64)

    def normalise(by_mean, by_std):
        return torch.stack([(pixels[:, c] - by_mean[c]) / by_std[c] for c in range(3)], dim=1).float()

    with torch.no_grad():
        expected = teacher.encoder.forward_features(normalise([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
    torch.testing.assert_close(teacher.tokens(normalise(mean, std)), expected, rtol=1e-4, atol=1e-4)


def test_weights_of_another_encoder_are_refused(configure, tmp_path):
    wide = {"name": TINY["name"], "kwargs": {**TINY["kwargs"], "embed_dim": 48}}
    folder = write_parent(tmp_path / "parent", encoder=wide)
    with pytest.raises(UserError, match="attn.proj.bias is float32 48 in the file but float32 96 in the model"):
        run(configure("pretrain/configs/wsp.py", 2, checkpoint=str(folder)))


def test_positions_of_another_grid_are_resized_and_in_the_ledger(configure, tmp_path):
    small = {"name": TINY["name"], "kwargs": {**TINY["kwargs"], "img_size": 32}}
    folder = write_parent(tmp_path / "parent", encoder=small)
    meta = run(configure("pretrain/configs/wsp.py", 1, checkpoint=str(folder)))
    assert meta["ledger"]["resized"] == {"pos_embed": [[1, 17, 96], [1, 65, 96]]}


def test_parents_own_place_and_what_is_wrong_there(tmp_path, monkeypatch):
    cfg = load_config("pretrain/configs/fd.py", scale="study", seed=2)
    assert (
        cfg.checkpoint == "runs/study/pretrain/clip/seed2/checkpoint" and cfg.work_dir == "runs/study/pretrain/fd/seed2"
    )
    assert "checkpoint" not in load_config("pretrain/configs/clip.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"does not exist; make it with `.*configs/clip.py --scale study --seed 2`"):
        fill_parent(cfg)
    write_parent(tmp_path / cfg.checkpoint, "mae")
    with pytest.raises(UserError, match="holds a mae encoder, but the parent of fd is clip: .* --checkpoint"):
        fill_parent(cfg)


def test_a_teacher_cannot_be_left_out():
    with pytest.raises(UserError, match="fd needs a teacher: name a method as `parent`, or a folder with --checkpoint"):
        fill_parent(load_config("pretrain/configs/fd.py", options={"parent": None}))


@pytest.mark.parametrize("method", ROLES)
def test_resume_is_exact_and_only_under_the_same_parent(configure, in_child, tmp_path, method):
    config, folder = f"pretrain/configs/{method}.py", tmp_path / "parent"
    write_parent(folder, ROLES[method][0])
    arguments = dict(checkpoint=str(folder))
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert in_child(lambda: train(configure, config, straight, **arguments)) == 0
    assert in_child(lambda: train(configure, config, broken, kill=KILLED_AT, **arguments)) == -signal.SIGKILL
    aside = shutil.move(folder, tmp_path / "aside")
    write_parent(folder, ROLES[method][0], seed=1)
    with pytest.raises(UserError, match="another configuration .*parent_meta.sha256 .* -> "):
        train(configure, config, broken, resume=True, **arguments)
    shutil.rmtree(folder)
    shutil.move(aside, folder)
    assert in_child(lambda: train(configure, config, broken, resume=True, **arguments)) == 0
    assert_identical(straight, broken)
    metas = [read_checkpoint(place / "checkpoint") for place in (straight, broken)]
    assert all(metas[0][key] == metas[1][key] for key in ("parent", "ledger", "config_hash", "sha256"))
