"""One contract for all methods: the config runs, the checkpoint is whole and holds the trained encoder."""

from pathlib import Path

import pytest
import torch

import pretrain
from backbones import load_encoder, read_checkpoint
from engine.errors import UserError
from study.configure import load_config
from tests.pretrain.samples import ENCODER

METHODS = sorted(path.stem for path in Path("pretrain/configs").glob("*.py"))


def train(configure, method: str, folder: Path, iters: int, checkpoint: str | None = None) -> dict:
    from study.run import run

    config = f"pretrain/configs/{method}.py"
    run(configure(config, 0 if method == "random" else iters, folder, checkpoint=checkpoint), "test")
    return read_checkpoint(folder / "checkpoint")


@pytest.mark.parametrize("method", METHODS)
def test_config_trains_and_exports(configure, tmp_path, method):
    iters, stated = 3, load_config(f"pretrain/configs/{method}.py")
    first = None
    if "parent" in stated:
        train(configure, stated.parent, tmp_path / "parent", 1)
        first = str(tmp_path / "parent" / "checkpoint")
    meta = train(configure, method, tmp_path / "run", iters, first)
    seen = 0 if method == "random" else iters * 8
    assert (meta["method"], meta["captions"]) == (method, stated.get("captions"))
    assert (meta["parent"] or {}).get("method") == stated.get("parent")
    assert meta["samples_seen"] == seen and meta["updates"] == seen // 8 and meta["image"]["size"] == 64
    data = ("none", 0) if method == "random" else ("small-scenes", 48)
    assert meta["data"] == dict(zip(("name", "samples"), data, strict=True))
    assert (meta["text"] is not None) == ("text" in stated.model)
    encoder = load_encoder(tmp_path / "run" / "checkpoint")[0]
    states = sorted((tmp_path / "run" / "state").glob("*.pt"))
    if method == "random":
        assert not states
        return
    trained = torch.load(states[-1], weights_only=True)["model"]
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, trained[f"encoder.{name}"]), name


def test_text_tower_comes_back(configure, tmp_path):
    from backbones import load_text_state
    from backbones.text import TextTower

    meta = train(configure, "clip", tmp_path / "run", 2)
    state, _ = load_text_state(tmp_path / "run" / "checkpoint")
    tower = TextTower(
        embed_dim=meta["text"]["embed_dim"], vocabulary=meta["text"]["vocabulary"], **meta["text"]["kwargs"]
    )
    tower.load_state_dict({k.removeprefix("text."): v for k, v in state.items() if k.startswith("text.")})
    assert state["image_projection.weight"].shape == (meta["text"]["embed_dim"], 96)
    assert float(state["logit_scale"]) > 0


def test_unknown_method_lists_the_known_ones(configure):
    cfg = configure("pretrain/configs/mae.py", 2)
    cfg.model.type = "MAEE"
    with pytest.raises(UserError, match="unknown pretraining method.*CLIP, DINO.*MAE, MaskCLIP"):
        pretrain.fill(cfg)


def test_method_refuses_data_without_its_labels(configure):
    cfg = configure("pretrain/configs/clip.py", 2)
    cfg.data.kind = "image_folder"
    with pytest.raises(UserError, match="clip learns from tokens.*image_text"):
        pretrain.fill(cfg)


def test_a_missing_view_is_named(configure):
    cfg = configure("pretrain/configs/moco_v3.py", 2)
    del cfg.train_dataloader.dataset.views["image_2"]
    with pytest.raises(UserError, match="moco_v3 learns from image_2, but the data set shows image_1"):
        pretrain.fill(cfg)


def test_image_methods_take_an_image_folder_too(configure, scenes_root):
    cfg = configure("pretrain/configs/mae.py", 2)
    cfg.data.update(kind="image_folder", root=str(scenes_root / "imagefolder" / "pretrain"))
    cfg.train_dataloader.dataset.root = cfg.data.root
    pretrain.fill(cfg)
    from mmengine.registry import DATASETS

    assert len(DATASETS.build(cfg.train_dataloader.dataset)) == 48


def test_parameter_groups():
    from mmengine.registry import MODELS

    from pretrain.optim import DecayGroups

    model = MODELS.build(dict(type="MAE", encoder=ENCODER))
    wrapper = DecayGroups(dict(optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05)))(model)
    decayed, free = wrapper.optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert all(p.ndim > 1 for p in decayed["params"])
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in free["params"] if p.ndim > 1} == {"encoder.cls_token", "mask_token"}
    assert len(decayed["params"]) + len(free["params"]) == sum(p.requires_grad for p in model.parameters())
