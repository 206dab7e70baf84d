"""The configurations that must not change: how one is obtained, and how it is written so that only meaning counts."""

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.golden_runs import CONFIGS, IMAGE_TASKS, ROOT, methods, spelled
from benchmarks.methods import stand_in
from engine.errors import UserError
from engine.provenance import digest
from engine.run_folder import flatten
from study.configure import load_config

SCALES = ("tiny", "study", "paper", "paper-cae", "paper-mobile", "paper-raw")
# Where a run is, what it and its options are called, and which modules it imports: no part of what it computes.
PLACE = ("work_dir", "run_name", "config_hash", "custom_imports", "departures")
# Left over at the top of a recipe; runner, hooks and record do not read them (`encoder` counts as `model.encoder`).
HELPERS = (
    "encoder", "train_pipeline", "test_pipeline", "rpn_proposals", "assigner", "data_preprocessor", "classifier_start",
    "classes", "proposals", "epoch", "epochs", "resize", "classifier", "pairs", "batch", "giou_head", "any_of",
    "crop_first", "multi_scale", "average", "finer", "train_images", "updates", "workers",
)  # fmt: skip
MARK = re.compile(r"<[a-z]+>")  # "<data>", "<encoder>", "<last>": another spelling of None, to be filled later


def names() -> list[str]:
    """ "task method scale" of every configuration that may exist.

    Configurations of recognition serve all methods, and tell them apart at scale "paper" alone.
    """
    known = [f"{task} {method} {scale}" for task in CONFIGS for method in methods() for scale in SCALES]
    known += [f"{task} {method} paper" for task in IMAGE_TASKS for method in methods()]
    known += [f"{task} clip {scale}" for task in IMAGE_TASKS for scale in SCALES if scale != "paper"]
    return known


def place_encoders(house: Path) -> None:
    """A checkpoint folder of each method with fresh weights: what configurations without a method ask for."""
    for method in methods():
        stand_in(load_config(ROOT / f"pretrain/configs/{method}.py"), house / "encoders" / method)


def obtain(task: str, method: str, scale: str) -> dict[str, Any]:
    """The whole configuration of one run, as the loader gives it. The folder has encoders/ from `place_encoders`.

    Raises:
        UserError: there is none.
    """
    (config,) = spelled(task, method)
    encoder = f"encoders/{method}" if task in IMAGE_TASKS else None
    cfg = load_config(config, scale, checkpoint=encoder)
    return cfg.to_dict()


def normal(value: Any) -> Any:
    """A configuration's value in the form that is compared.

    Floats keep twelve digits: the same rate computed in another order is the same rate. Paths are relative to the
    folder of the run. `Addressed` is taken off the data set that it wraps, since it may also be the loop that wraps it.
    """
    if isinstance(value, dict):
        if value.get("type") == "Addressed":
            return normal(value["dataset"])
        return {str(key): normal(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [normal(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, str):
        return None if MARK.fullmatch(value) else value.replace(f"{Path.cwd()}/", "").replace(f"{ROOT}/", "")
    return value


def sections(cfg: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The top-level sections that count, each as {dotted key: value}; the keys begin with the section's name."""
    return {key: flatten(normal(value), key) for key, value in cfg.items() if key not in PLACE + HELPERS}


def joined(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All sections as one {dotted key: value}."""
    return {key: value for content in found.values() for key, value in content.items()}


def hashes(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """A hash of each section."""
    return {key: digest(content)[:16] for key, content in found.items()}


def one(name: str) -> tuple[str, dict[str, dict[str, Any]] | str]:
    """(name, sections), or why the configuration does not exist."""
    try:
        return name, sections(obtain(*name.split(" ")))
    except UserError as error:
        return name, str(error)


def contents(
    house: Path, wanted: list[str], jobs: int, done: Callable[[], Any]
) -> Iterator[tuple[str, dict[str, dict[str, Any]] | str]]:
    """(name, sections or why there are none) of each name.

    Args:
        house: a folder made by `golden_runs.lay_out`; configurations are read as from there.
        done: called after each.
    """
    if not wanted:
        return
    place_encoders(house)
    with ProcessPoolExecutor(jobs, initializer=os.chdir, initargs=(house,)) as pool:
        for name, found in pool.map(one, wanted, chunksize=8):
            done()
            yield name, found
