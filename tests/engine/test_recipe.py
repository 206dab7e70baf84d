"""Recipes in the words of the papers: lengths by exact fractions, rates update by update, and what is refused."""

import math
from fractions import Fraction

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from engine.errors import UserError
from engine.recipe import expand
from study.configure import load_config

IMAGES, BATCH = 1_281_167, 2048
RATE, DECAY = 2e-3, 0.05


def expanded(stated: dict | None = None, **recipe) -> Config:
    cfg = Config(dict(train_cfg=dict(type="AddressedLoop"), optim_wrapper=dict(optimizer=dict(type="AdamW"))))
    cfg.merge_from_dict(stated or {})
    cfg.recipe = dict(rate=RATE, decay=DECAY) | recipe
    expand(cfg)
    assert "recipe" not in cfg, "there must not be two truths"
    return cfg


def walked(cfg: Config) -> list[tuple[float, float]]:
    """Rate and decay of every update, as mmengine's schedulers set them on an optimizer."""
    given = cfg.optim_wrapper.optimizer
    optimizer = torch.optim.AdamW([torch.zeros(1)], lr=given.lr, weight_decay=given.weight_decay)
    schedulers = [PARAM_SCHEDULERS.build({**s, "optimizer": optimizer}) for s in cfg.param_scheduler]
    rows = []
    for _ in range(cfg.train_cfg.max_iters):
        rows.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]))
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rows


def half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("epochs, warm_up", [(800, 10), (32, 1.5)])
def test_epochs_become_updates(drop_last, epochs, warm_up):
    cfg = expanded(images=IMAGES, batch=BATCH, epochs=epochs, warm_up=warm_up, drop_last=drop_last)
    of_epoch = Fraction(IMAGES // BATCH) if drop_last else Fraction(IMAGES, BATCH)
    assert cfg.train_cfg.max_iters == math.floor(epochs * of_epoch)
    rise, fall = cfg.param_scheduler
    assert rise.end == fall.begin == math.floor(Fraction(warm_up) * of_epoch)
    assert fall.end == cfg.train_cfg.max_iters and fall.T_max == fall.end - fall.begin
    assert cfg.global_batch_size == BATCH


@pytest.mark.parametrize(
    "more, start, floor",
    [({}, RATE / 1000, RATE / 100), (dict(start=1e-4, floor=1e-5), 1e-4, 1e-5), (dict(start=0.0, floor=0.0), 0.0, 0.0)],
)
def test_the_rate_of_every_update(more, start, floor):
    length, rise = 40, 8
    rows = walked(expanded(updates=length, warm_up_updates=rise, last_decay=0.5, **more))
    assert len(rows) == length
    for i, (rate, decay) in enumerate(rows):
        # mmengine is at the peak with the last update of the rise and with the first of the fall
        rising = start + (RATE - start) * i / (rise - 1)
        wanted = rising if i < rise else half_cosine(RATE, floor, (i - rise) / (length - rise))
        assert rate == pytest.approx(wanted, rel=1e-6, abs=2e-6 * RATE), i
        assert decay == pytest.approx(half_cosine(DECAY, 0.5, i / length)), i


def test_the_rate_grows_with_the_batch():
    cfg = expanded(updates=10, batch=4096, rate=1.5e-4, rate_for=256)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(2.4e-3, rel=1e-12)
    assert cfg.optim_wrapper.optimizer.weight_decay == DECAY


def test_few_updates_leave_the_warm_up_first():
    (only,) = expanded(updates=5, warm_up_updates=20).param_scheduler
    assert (only.type, only.end) == ("LinearLR", 5)
    assert expanded(updates=0, warm_up_updates=20, last_decay=0.5).param_scheduler == []
    (only,) = expanded(updates=5).param_scheduler
    assert (only.type, only.begin, only.end) == ("CosineAnnealingLR", 0, 5)


def test_what_the_configuration_states_stays():
    stated = {
        "train_cfg.max_iters": 7, "optim_wrapper.optimizer.lr": 0.5, "optim_wrapper.optimizer.weight_decay": 0.25,
        "global_batch_size": 24, "param_scheduler": [],
    }  # fmt: skip
    cfg = expanded(stated, updates=100, batch=64)
    assert (cfg.train_cfg.max_iters, cfg.global_batch_size, cfg.param_scheduler) == (7, 24, [])
    assert cfg.optim_wrapper.optimizer.to_dict() == {"type": "AdamW", "lr": 0.5, "weight_decay": 0.25}
    shortened = expanded({"train_cfg.max_iters": 7}, updates=100, warm_up_updates=3)
    assert [s.end for s in shortened.param_scheduler] == [3, 7], "the schedule follows the length that is run"


@pytest.mark.parametrize(
    "recipe, sentence",
    [
        (dict(updates=5, epoch=3), "recipe has no 'epoch'; did you mean epochs"),
        (dict(updates=5, zzz=3), "recipe has no 'zzz': it takes images, batch"),
        ({}, "recipe says no length: add epochs"),
        (dict(updates=5, epochs=1, images=8, batch=2), "both epochs and updates: leave one out"),
        (dict(updates=5, warm_up_updates=2, warm_up=1, images=8, batch=2), "both warm_up and warm_up_updates"),
        (dict(epochs=5, images=8), "recipe.epochs needs batch: add batch"),
        (dict(epochs=5), "recipe.epochs needs images and batch"),
        (dict(updates=5, warm_up=1), "recipe.warm_up needs images and batch"),
        (dict(updates=5, rate_for=256), "recipe.rate_for needs batch"),
        (dict(updates=5, decay=0, last_decay=0.4), "last_decay needs a decay above 0"),
        (dict(updates=5.5), "recipe.updates is 5.5: give a whole number, 0 or more"),
        (dict(updates=-1), "recipe.updates is -1"),
        (dict(updates=True), "recipe.updates is True"),
        (dict(updates=5, batch=0), "recipe.batch is 0: give a whole number, above 0"),
        (dict(updates=5, rate=0), "recipe.rate is 0: give a number, above 0"),
        (dict(updates=5, rate="fast"), "recipe.rate is 'fast'"),
        (dict(updates=5, floor=math.nan), "recipe.floor is nan"),
        (dict(updates=5, drop_last=1), "recipe.drop_last is 1: give True or False"),
        (dict(updates=5, rate=None), "recipe has no rate: add rate"),
    ],
)
def test_a_recipe_that_cannot_be(recipe, sentence):
    with pytest.raises(UserError, match=sentence):
        expanded(**recipe)


def test_no_recipe_changes_nothing():
    cfg = Config(dict(train_cfg=dict(max_iters=3)))
    expand(cfg)
    assert cfg.to_dict() == dict(train_cfg=dict(max_iters=3))
    cfg.recipe = 5
    with pytest.raises(UserError, match="recipe is 5: give it as recipe = dict"):
        expand(cfg)


def test_the_command_line_changes_a_recipe_or_what_it_comes_to():
    path = "pretrain/configs/mae.py"
    cfg = load_config(path, options={"recipe.updates": 30, "recipe.warm_up_updates": 10, "recipe.rate": 0.5})
    assert cfg.train_cfg.max_iters == 30 and [s.end for s in cfg.param_scheduler] == [10, 30]
    assert cfg.optim_wrapper.optimizer.lr == 0.5 and "recipe" not in cfg and "encoder" not in cfg
    cfg = load_config(path, options={"train_cfg.max_iters": 30, "optim_wrapper.optimizer.lr": 0.25})
    assert cfg.train_cfg.max_iters == 30 and cfg.optim_wrapper.optimizer.lr == 0.25
    with pytest.raises(UserError, match="change the recipe instead"):
        load_config(path, options={"param_scheduler.0.end": 3})
    with pytest.raises(UserError, match="recipe has no 'warmup'; did you mean warm_up"):
        load_config(path, options={"recipe.warmup": 3})


@pytest.mark.parametrize("entry, stated", [
    ("updates", {"train_cfg.max_iters": 5}), ("epochs", {"train_cfg.max_iters": 5}),
    ("rate", {"optim_wrapper.optimizer.lr": 0.5}), ("decay", {"optim_wrapper.optimizer.weight_decay": 0.5}),
    ("batch", {"global_batch_size": 24}), ("floor", {"param_scheduler": []}),
])  # fmt: skip
def test_an_option_that_something_else_overrules(here, entry, stated):
    """By another option, or by a data overlay, whose length would be trained in silence."""
    path, key = "pretrain/configs/mae.py", next(iter(stated))
    with pytest.raises(UserError, match=rf"recipe\.{entry} is without effect, since {key} is stated, as "):
        load_config(path, options={f"recipe.{entry}": 8, **stated})
    nested = {}
    for name in reversed(key.split(".")):
        nested = {name: nested or stated[key]}
    data = dict(name="own", kind="image_folder", root="pictures")
    (here / "own.py").write_text("\n".join(f"{name} = {value!r}" for name, value in {"data": data, **nested}.items()))
    with pytest.raises(UserError, match=rf"recipe\.{entry} is without effect"):
        load_config(path, data="own.py", options={f"recipe.{entry}": 8})
