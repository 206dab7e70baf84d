"""An option of the command line has an effect, or is refused."""

import pytest

from engine.errors import UserError
from engine.idle import MISSING, alike, value_at
from study.configure import load_config

MAE, UPERNET = "pretrain/configs/mae.py", "seg_configs/upernet.py"


@pytest.mark.parametrize("path, option, instead", [
    (MAE, {"optim_wrapper.type": "OptimWrapper"}, "SteadyOptimWrapper"),
    (MAE, {"randomness.seed": 5}, "0"),
    (MAE, {"run_name": "mine"}, "pretrain mae seed 0"),
    (MAE, {"config_hash": "mine"}, "[0-9a-f]+"),
    (MAE, {"train_dataloader.dataset.root": "mine"}, "data/scenes/shards"),
    (UPERNET, {"protocol": "mine"}, "scenes-upernet-64-tiny-v1"),
    (UPERNET, {"train_dataloader.dataset.classes": ["floor"]}, r"\['floor', 'wall'"),
    (UPERNET, {"test_dataloader": {"dataset": {"ignore": [1]}}}, r"\[\]"),
])  # fmt: skip
def test_what_the_run_fills_in_itself(path, option, instead):
    with pytest.raises(UserError, match=f"--cfg-options: {next(iter(option))}.*=.* is without effect: .* {instead}"):
        load_config(path, encoder="mae" if path == UPERNET else None, options=option)


@pytest.mark.parametrize("path, option", [
    (MAE, {"tf32": False}), (MAE, {"accumulation": 2}), (MAE, {"recipe.updates": 7}), (MAE, {"captions": "aligned"}),
    (MAE, {"train_dataloader": {"batch_size": 8}}), (MAE, {"optim_wrapper.optimizer.betas": (0.5, 0.9)}),
    (UPERNET, {"data.size": [32, 32]}), (UPERNET, {"model.decode_head.num_classes": 8}),
])  # fmt: skip
def test_what_has_an_effect_or_says_what_is(path, option):
    load_config(path, encoder="mae" if path == UPERNET else None, options=option)


@pytest.mark.parametrize("line, key", [
    ("seed = 5", "seed"), ("resume = True", "resume"), ("work_dir = 'mine'", "work_dir"),
    ("train_dataloader = dict(dataset=dict(classes=['c']))", "train_dataloader.dataset.classes"),
])  # fmt: skip
def test_an_overlay_without_effect(here, line, key):
    section = "data = dict(name='roads', kind='seg', root='nowhere', classes=('a', 'b'), size=(32, 48))\n"
    (here / "roads.py").write_text(section + line)
    with pytest.raises(UserError, match=f"roads.py: {key}=.* is without effect: the run puts"):
        load_config(UPERNET, encoder="mae", data="roads.py")
    (here / "roads.py").write_text(
        section + "train_dataloader = dict(batch_size=4, num_workers=1)\nprogress_interval = 3"
    )
    for option in ({"train_dataloader.batch_size": 6}, {"train_dataloader": {"batch_size": 6}}):
        cfg = load_config(UPERNET, encoder="mae", data="roads.py", options=option)
        assert cfg.train_dataloader.batch_size == 6 and cfg.progress_interval == 3, "options go over it"
    cfg = load_config(UPERNET, encoder="mae", data="roads.py", options={"accumulation": 2})
    assert cfg.train_dataloader.batch_size == 2, "a pass has its share"
    both = {"global_batch_size": 8, "train_dataloader.batch_size": 8}
    assert load_config(UPERNET, encoder="mae", options={**both, "accumulation": 2}).train_dataloader.batch_size == 4
    with pytest.raises(UserError, match="train_dataloader.batch_size=4 is without effect: the run puts 8 there"):
        load_config(UPERNET, encoder="mae", options={**both, "train_dataloader.batch_size": 4})


def test_places_in_lists():
    cfg = {"a": [{"b": 1}, {"b": (2, 3)}]}
    assert value_at(cfg, "a.1.b") == (2, 3) and value_at(cfg, "a.0.b") == 1
    assert {value_at(cfg, key) for key in ("a.2.b", "a.x", "b", "a.0.b.c")} == {MISSING}
    assert alike((1, [2, 3]), [1, (2, 3)]) and not alike([1], [1, 2]) and not alike([1], MISSING)
