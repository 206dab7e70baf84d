"""How long and how fast to train, in the words in which papers say it, and what the runner makes of them.

    recipe = dict(images=1_281_167, batch=2048, epochs=800, warm_up=10, rate=1.5e-3, decay=0.05, floor=1e-5)

The rate rises linearly from `start` to `rate` and falls by half a cosine to `floor`. `expand` writes the length of
training, the batch of all processes, the optimizer's rate and decay, and the schedules into a configuration. What that
states itself stays: a rate, a length or schedules that the command line or a data overlay gives.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mmengine.config import Config, ConfigDict

from engine.errors import UserError
from engine.idle import MISSING, value_at
from engine.names import did_you_mean

ALMOST_ZERO = 1e-6  # LinearLR multiplies, so it cannot leave 0
# What a configuration may state itself -> the entries of a recipe that are without effect then.
OVERRULED = {
    "train_cfg.max_iters": ("updates", "epochs"),
    "optim_wrapper.optimizer.lr": ("rate", "rate_for"),
    "optim_wrapper.optimizer.weight_decay": ("decay",),
    "global_batch_size": ("batch",),
    "param_scheduler": ("warm_up", "warm_up_updates", "start", "floor", "last_decay"),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The entries of `recipe`. Each length is given in epochs or in updates, not in both.

    Attributes:
        images: of an epoch.
        batch: images of an update, over all processes; where it is absent, the loader's batch size stands.
        drop_last: whether the images that fill no batch are left out of every epoch, so that it has whole updates.
        epochs, updates: length of training.
        warm_up, warm_up_updates: length of the rise of the rate, in epochs and updates; none unless given.
        rate: the highest learning rate; with `rate_for`, that of a batch of so many images: it grows with the batch.
        start: rate at the begin of the rise; a thousandth of `rate` unless given.
        floor: rate at the end of training; a hundredth of `rate` unless given. Neither of the two grows with the batch.
        decay: weight decay.
        last_decay: weight decay at the end of training, reached by half a cosine; `decay` throughout unless given.
    """

    images: int | None = None
    batch: int | None = None
    drop_last: bool = False
    epochs: float | None = None
    updates: int | None = None
    warm_up: float | None = None
    warm_up_updates: int | None = None
    rate: float
    rate_for: int | None = None
    start: float | None = None
    floor: float | None = None
    decay: float
    last_decay: float | None = None

    @property
    def length(self) -> int:
        """Updates of the whole training."""
        return self.in_updates(self.epochs, self.updates)

    @property
    def rise(self) -> int:
        """Updates of the warm-up."""
        return self.in_updates(self.warm_up, self.warm_up_updates)

    def in_updates(self, epochs: float | None, updates: int | None) -> int:
        """A length in whole updates; 0 where neither is given."""
        if epochs is None:
            return updates or 0
        return int(epochs * (self.images // self.batch if self.drop_last else self.images / self.batch))

    @property
    def peak(self) -> float:
        """The highest learning rate."""
        return self.rate if self.rate_for is None else self.rate * self.batch / self.rate_for

    def schedules(self, last: int) -> list[dict[str, Any]]:
        """mmengine's schedulers for a training of `last` updates; where there are few, the warm-up gives way."""
        rise, made = min(self.rise, last), []
        if rise:
            factor = 1e-3 if self.start is None else max(self.start / self.peak, ALMOST_ZERO)
            made.append(dict(type="LinearLR", start_factor=factor, by_epoch=False, begin=0, end=rise))
        if rise < last:
            floor = dict(eta_min_ratio=0.01) if self.floor is None else dict(eta_min=self.floor)
            span = dict(begin=rise, end=last, T_max=last - rise)
            made.append(dict(type="CosineAnnealingLR", **floor, by_epoch=False, **span))
        if self.last_decay is not None and last:
            ratio = self.last_decay / self.decay
            made.append(dict(type="CosineAnnealingParamScheduler", param_name="weight_decay", eta_min_ratio=ratio,
                             by_epoch=False, end=last))  # fmt: skip
        return made


def expand(cfg: Config, options: Mapping[str, Any] | None = None) -> None:
    """Replace `cfg.recipe`, where there is one, by what it comes to: `train_cfg.max_iters`, `global_batch_size`, the
    optimizer's `lr` and `weight_decay`, and `param_scheduler`, each only where the configuration does not state it.

    Args:
        options: `--cfg-options`, which must not say an entry of the recipe that another key overrules.

    Raises:
        UserError: an entry that no recipe has, a value that cannot be, lengths that are missing, given twice or not to
            be told from the rest, or an option without effect.
    """
    if "recipe" not in cfg:
        return
    refuse_overruled(cfg, options or {})
    recipe = check(cfg.pop("recipe"))
    cfg.train_cfg.setdefault("max_iters", recipe.length)
    optimizer = cfg.optim_wrapper.optimizer
    optimizer.setdefault("lr", recipe.peak)
    optimizer.setdefault("weight_decay", recipe.decay)
    if recipe.batch is not None:
        cfg.setdefault("global_batch_size", recipe.batch)
    stated = cfg.setdefault("param_scheduler", recipe.schedules(cfg.train_cfg.max_iters))
    if not isinstance(stated, list):
        raise UserError(
            "param_scheduler.N changes an entry of a list that the recipe has yet to make: change the recipe instead, "
            "such as recipe.warm_up_updates=20, or give the whole list as param_scheduler"
        )


def refuse_overruled(cfg: Config, options: Mapping[str, Any]) -> None:
    """UserError for an option that says an entry of the recipe where the configuration states what comes of it."""
    idle = [(entry, key) for key, entries in OVERRULED.items() for entry in entries if f"recipe.{entry}" in options]
    for entry, key in idle:
        value = value_at(cfg.to_dict(), key)
        if value is not MISSING and value is not None:
            raise UserError(f"--cfg-options: recipe.{entry} is without effect, since {key} is stated, as "
                            f"{str(value)[:60]}: change that instead")  # fmt: skip


def check(stated: ConfigDict) -> Recipe:
    """The recipe of a configuration's section; UserError where it is none."""
    if not isinstance(stated, dict):
        raise UserError(f"recipe is {stated!r}: give it as recipe = dict(updates=..., rate=..., decay=...)")
    known = [field.name for field in fields(Recipe)]
    for name, value in stated.items():
        if name not in known:
            raise UserError(f"recipe has no {name!r}{did_you_mean(name, known)}: it takes {', '.join(known)}")
        if value is not None:
            check_value(name, value)
    if missing := [name for name in ("rate", "decay") if stated.get(name) is None]:
        raise UserError(f"recipe has no {missing[0]}: add {missing[0]}=..., see engine/recipe.py")
    recipe = Recipe(**stated)
    check_lengths(recipe)
    return recipe


def check_value(name: str, value: Any) -> None:
    """UserError unless the value is a number that the entry can have."""
    kind = {field.name: field.type for field in fields(Recipe)}[name]
    if kind is bool:
        fits, wanted = isinstance(value, bool), "True or False"
    else:
        whole = kind == int | None
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        least = 1 if name in ("images", "batch", "rate_for") else 0
        fits = number and math.isfinite(value) and value >= least and (value > 0 or name != "rate")
        wanted = f"a {'whole ' if whole else ''}number, {'above 0' if least or name == 'rate' else '0 or more'}"
    if not fits:
        raise UserError(f"recipe.{name} is {value!r}: give {wanted}")


def check_lengths(recipe: Recipe) -> None:
    """UserError unless the length of training is given once, and with it all that it follows from."""
    for epochs, updates in (("epochs", "updates"), ("warm_up", "warm_up_updates")):
        if None not in (getattr(recipe, epochs), getattr(recipe, updates)):
            raise UserError(f"recipe has both {epochs} and {updates}: leave one out, they are two units of one length")
    if recipe.epochs is None and recipe.updates is None:
        raise UserError("recipe says no length: add epochs=... or updates=...")
    needs = {"epochs": ("images", "batch"), "warm_up": ("images", "batch"), "rate_for": ("batch",)}
    for name, needed in needs.items():
        absent = [other for other in needed if getattr(recipe, other) is None]
        if getattr(recipe, name) is not None and absent:
            raise UserError(f"recipe.{name} needs {' and '.join(absent)}: add {absent[0]}=...")
    if recipe.last_decay is not None and not recipe.decay:
        raise UserError("recipe.last_decay needs a decay above 0 to start from")
