"""Configuration layers and the sentences for what is wrong."""

from pathlib import Path

import pytest

from engine.errors import UserError
from study.configure import load_config

DOWNSTREAM = [p for room in ("seg_configs", "det_configs", "depth/configs") for p in sorted(Path(room).glob("*.py"))]
PRETRAINING = sorted(Path("pretrain/configs").glob("*.py"))


@pytest.mark.parametrize("path", DOWNSTREAM + PRETRAINING, ids=str)
@pytest.mark.parametrize("scale", ["tiny", "study"])
def test_every_config_loads_whole(path, scale):
    cfg = load_config(path, scale=scale, seed=3)
    text = path.read_text()
    assert all(word in text for word in ("COMMAND", "COST", "EXPECTED")), "the header must state them"
    assert f"python tools/train.py {path}" in text
    assert len(text.splitlines()) <= 45
    assert cfg.method in path.stem, "file name and method disagree"
    assert all(s.end == cfg.train_cfg.max_iters for s in cfg.param_scheduler[-1:])
    assert cfg.train_dataloader.dataset.type == "Addressed" and cfg.train_dataloader.sampler.seed == 3
    if cfg.task != "pretrain":
        assert cfg.checkpoint == f"runs/{scale}/pretrain/{cfg.method}/seed3/checkpoint"
        assert cfg.protocol == f"scenes-{cfg.task.replace('_', '-')}-{scale}-v1"
        assert sum(m.get("primary", False) for m in cfg.metrics.values()) == 1


def test_layers_override_in_order(tmp_path):
    overlay = tmp_path / "mine.py"
    overlay.write_text(
        "data = dict(name='mine', kind='seg', root='x', classes=('a', 'b'), size=(32, 48), ignore=(2,))\n"
        "train_cfg = dict(max_iters=7)\n"
    )
    cfg = load_config("seg_configs/upernet_mae.py", data=str(overlay), options={"optim_wrapper.optimizer.lr": 0.5})
    assert cfg.train_cfg.max_iters == 7 and cfg.optim_wrapper.optimizer.lr == 0.5
    assert cfg.work_dir.startswith("runs/tiny-mine/upernet/mae/seed0-"), "options depart from the study's own cell"
    assert load_config("seg_configs/upernet_mae.py", data=str(overlay)).work_dir == "runs/tiny-mine/upernet/mae/seed0"
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 2
    dataset = cfg.train_dataloader.dataset
    assert dataset.data_root == "x" and dataset.images == "images/train" and dataset.ignore == [2]
    crop = next(t for t in dataset.pipeline if t.type == "RandomCrop")
    resize = next(t for t in dataset.pipeline if t.type == "RandomResize")
    assert crop.crop_size == (32, 48) and resize.scale == (48, 32), "crop_size is (h, w), scale is (w, h)"


def test_a_trial_is_scored_on_validation_images():
    assert load_config("seg_configs/upernet_mae.py").test_dataloader.dataset.images == "images/test"
    trial = load_config("seg_configs/upernet_mae.py", options={"role": "trial"})
    assert trial.test_dataloader.dataset.images == "images/val"
    trial = load_config("det_configs/mask_rcnn_mae.py", options={"role": "trial"})
    assert trial.test_evaluator.ann_file.endswith("instances_val.json")


def test_the_hash_sees_what_is_computed_and_not_where():
    base = load_config("depth/configs/mae.py")
    assert base.config_hash == load_config("depth/configs/mae.py", work_dir="elsewhere", resume=True).config_hash
    workers = load_config("depth/configs/mae.py", options={"train_dataloader.num_workers": 2})
    assert base.config_hash == workers.config_hash, "results do not depend on the number of workers"
    assert base.config_hash != load_config("depth/configs/mae.py", seed=1).config_hash
    assert base.config_hash != load_config("depth/configs/mae.py", amp=True).config_hash
    assert base.config_hash != load_config("depth/configs/mae.py", options={"train_cfg.max_iters": 401}).config_hash


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (dict(path="seg_configs/upernet_mea.py"), "did you mean upernet_mae.py"),
        (dict(path="seg_configs/upernet_mae.py", scale="huge"), "no scale 'huge': choose one of"),
        (dict(path="seg_configs/upernet_mae.py", data="nowhere.py"), "no config nowhere.py"),
    ],
)
def test_mistakes_get_a_sentence(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        load_config(**arguments)


def test_data_of_the_wrong_kind_is_refused(tmp_path):
    overlay = tmp_path / "mine.py"
    overlay.write_text("data = dict(name='mine', kind='coco', root='x')\n")
    with pytest.raises(UserError, match="of kind 'coco', but upernet needs 'seg'"):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))
    overlay.write_text("data = dict(name='mine', kind='seg', root='x', size=(8, 8))\n")
    with pytest.raises(UserError, match="no 'classes'"):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))
    overlay.write_text("root = 'x'\n")
    with pytest.raises(UserError, match="no `data = dict"):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))
    overlay.write_text("data = dict(\n")
    with pytest.raises(UserError, match="cannot be read as a config"):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))
