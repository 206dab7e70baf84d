"""The whole configuration of one image-level test: config file, scale, data overlay, options, and what follows.

A data overlay's keys replace those of the config: another data set's questions have nothing to do with these.
"""

import re
from pathlib import Path
from typing import Any

from mmengine.config import Config

from backbones import read_checkpoint
from engine.config import check_seed, config_hash, is_own, merge_options, merge_scale, read, run_folder
from engine.errors import UserError

# what a data section states beside name, kind and root, by task
NEEDS = {
    "zero_shot": (),
    "retrieval": ("pattern",),
    "knn": ("train", "test"),
    "linear_probe": ("train", "test"),
    "attentive_probe": ("train", "test"),
}

RECIPE = ("kind", "optimizer", "lr", "batch", "epochs", "warm_up")  # of a probe


def load_test(
    path: str | Path,
    checkpoint: str,
    scale: str = "tiny",
    seed: int = 0,
    data: str | None = None,
    work_dir: str | None = None,
    options: dict[str, Any] | None = None,
) -> Config:
    """Return the whole configuration of one test.

    Args:
        path: a config file of `recognition/configs`.
        checkpoint: the checkpoint folder to test.
        scale: name of a scale overlay beside the config.
        seed: of the training of a probe; in a test that draws nothing it only names the run.
        data: a data overlay file.
        work_dir: the run's folder instead of `runs/<scale>/<task>/<method>/seed<seed>`.
        options: dotted keys and values of `--cfg-options`.

    Raises:
        UserError: a file that is absent or cannot be read, a scale that the config does not have, options that do not
            fit it, a data section that lacks what the task needs, or no checkpoint.
    """
    path = Path(path)
    cfg = read(path)
    if cfg.get("task") not in NEEDS:
        raise UserError(f"{path} is no test of whole images: use python tools/train.py for it")
    merge_scale(cfg, path, scale)
    if "train_dataloader" in cfg:
        raise UserError(f"{path} trains on augmented images at scale {scale!r}: start it by python tools/train.py")
    for key, value in (read(Path(data)) if data else {}).items():
        cfg[key] = value
    merge_options(cfg, options, path)
    check(cfg, data or path)
    check_numbers(cfg)
    check_seed(seed)
    method = read_checkpoint(checkpoint)["method"]
    cfg.scale, cfg.seed, cfg.method, cfg.checkpoint = scale, seed, method, str(checkpoint)
    cfg.role, cfg.resume = "final", False
    cfg.head = cfg.head.format_map(cfg)
    variant = slug(cfg.get("prefix") or cfg.data.get("attribute", ""))
    if cfg.task == "zero_shot":
        variant = published_templates(cfg)
    cfg.protocol = "-".join(filter(None, (cfg.data.name, cfg.task.replace("_", "-"), variant, scale, "v1")))
    departures = {"options": options, "checkpoint": None if is_own(cfg, data, checkpoint) else checkpoint}
    cfg.work_dir = str(work_dir or run_folder(cfg, data, departures))
    cfg.config_hash = config_hash(cfg)
    return cfg


def check(cfg: Config, source: str | Path) -> None:
    """Raise UserError where the data section or the questions lack what the task needs; `source` states them."""
    if not isinstance(cfg.get("data"), dict):
        raise UserError(f"the data section of {source} is {cfg.get('data')!r}: write data = dict(name=..., kind=...)")
    for key in ("name", "kind", "root", *NEEDS[cfg.task]):
        if cfg.data.get(key) is None:
            raise UserError(f"the data section of {source} has no {key!r}: {cfg.task} needs it")
        if not isinstance(cfg.data[key], str):
            raise UserError(f"{key!r} in the data section of {source} is {cfg.data[key]!r}: give a text")
    listed = {"attributes": "labels", "image_list": "list"}.get(cfg.data.kind)
    if listed and cfg.task == "zero_shot" and cfg.data.get(listed) is None:
        raise UserError(f"the data section of {source} has no {listed!r}: kind {cfg.data.kind!r} needs it")
    questions = cfg.get("questions", {})
    if not isinstance(questions, dict):
        raise UserError(f"questions in {source} are {questions!r}: write questions = dict(name=dict(templates=...))")
    for name, asked in questions.items():
        if not isinstance(asked, dict) or asked.get("templates") is None:
            raise UserError(f"question {name!r} has no templates: give it a list of prompts or a published list")
        if cfg.data.kind == "attributes" and asked.get("classes") is None:
            raise UserError(f"question {name!r} has no classes: kind 'attributes' needs the words that answer it")


def check_numbers(cfg: Config) -> None:
    """Raise UserError where what a test counts or learns by is absent or no such number, before anything is read."""
    recipe = cfg.get("probe", {})
    if cfg.task.endswith("probe") and (lacking := [key for key in RECIPE if key not in recipe]):
        raise UserError(f"probe has no {lacking[0]!r}: state {', '.join(RECIPE)}")
    for name, value, kinds, least in (
        ("neighbours", cfg.get("neighbours", 1), int, 1),
        ("probe.batch", recipe.get("batch", 1), int, 1),
        ("probe.epochs", recipe.get("epochs", 1), int, 1),
        ("probe.lr", recipe.get("lr", 1), int | float, 0),
        ("probe.warm_up", recipe.get("warm_up", 0), int | float, 0),
    ):
        if not isinstance(value, kinds) or not value >= least:
            raise UserError(f"{name} is {value!r}: give a {'whole ' * (kinds is int)}number from {least} on")


def published_templates(cfg: Config) -> str:
    """The name of the published list of prompts that a question asks with, where it is one: part of the protocol."""
    named = {asked.templates for asked in cfg.get("questions", {}).values() if isinstance(asked.templates, str)}
    return slug("-".join(sorted(named)))


def slug(text: str) -> str:
    """Text as part of an identifier: lower-case letters and digits, joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))
