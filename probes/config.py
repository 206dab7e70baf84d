"""What a dense probe must state beside its data, and what of it makes a protocol of its own."""

from dataclasses import dataclass, fields
from pathlib import Path

from mmengine.config import Config

from backbones.patch_maps import TAPS
from datasets.sections import fits, wanted
from engine.errors import UserError
from engine.names import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The section `probe` of a configuration: what every dense probe states. taps: see `PatchMaps.maps`."""

    taps: str


@dataclass(frozen=True, kw_only=True)
class Linear(Probe):
    """Of a linear map trained by AdamW.

    Attributes:
        lr: the peak rate; weight_decay: of all parameters; batch: images of a step; iterations: steps; warm_up: the
            steps in which the rate rises linearly from 0, after which it falls linearly to 0.
    """

    lr: float
    weight_decay: float
    batch: int
    iterations: int
    warm_up: int


@dataclass(frozen=True, kw_only=True)
class Bins(Linear):
    """Of a linear map to depths. bins: how many, evenly spaced."""

    bins: int


@dataclass(frozen=True, kw_only=True)
class Vote(Probe):
    """Of the nearest patches. temperature: of the weights; bank: training patches at most."""

    temperature: float
    bank: int


LEAST = {"lr": 0, "weight_decay": 0, "warm_up": 0, "temperature": 1e-3, "bins": 2}  # of a number; of all others 1
RECIPES = {"linear_seg": Linear, "linear_depth": Bins, "knn_seg": Vote}


def recipe_of(cfg: Config) -> Probe:
    """The section `probe` as its dataclass.

    Raises:
        UserError: a name that the task's recipe does not have or lacks, or a value that is none of its kind.
    """
    recipe, stated = RECIPES[cfg.task], dict(cfg.get("probe", {}))
    known = {field.name: field.type for field in fields(recipe)}
    for key, value in stated.items():
        if key not in known:
            raise UserError(f"probe: {cfg.task} reads no {key!r}{did_you_mean(key, known)}")
        if not fits(value, known[key]):
            raise UserError(f"probe.{key} is {value!r}: give {wanted(known[key])}")
        if known[key] is not str and not value >= LEAST.get(key, 1):
            raise UserError(f"probe.{key} is {value!r}: give a number from {LEAST.get(key, 1)} on")
    if lacking := [key for key in known if key not in stated]:
        raise UserError(f"probe has no {lacking[0]!r}: state {', '.join(known)}")
    if stated["taps"] not in TAPS:
        raise UserError(f"probe.taps is {stated['taps']!r}: give {' or '.join(map(repr, TAPS))}")
    neighbours = cfg.get("neighbours", 1)
    if not fits(neighbours, int) or neighbours < 1:
        raise UserError(f"neighbours is {neighbours!r}: give a whole number from 1 on")
    if stated.get("warm_up", 0) >= stated.get("iterations", 1):
        raise UserError(
            f"probe.warm_up is {stated['warm_up']}: the rate must have risen before the last of {stated['iterations']} "
            "iterations; lower it"
        )
    return recipe(**stated)


def check_test(cfg: Config, source: str | Path) -> None:
    """UserError where the recipe lacks what the task needs; `source` states the data, whose section is whole."""
    recipe_of(cfg)


def variant(cfg: Config) -> str:
    """What makes a dense probe a protocol of its own: other taps than the last map."""
    return "" if cfg.probe.taps == "last" else f"{cfg.probe.taps}-taps"
