"""What an image-level test must state beside its data, and what of it makes a protocol of its own."""

import re
from pathlib import Path

from mmengine.config import Config

from engine.errors import UserError

RECIPE = ("kind", "optimizer", "lr", "batch", "epochs", "warm_up")  # of a probe
FOLDERS = ("knn", "linear_probe", "attentive_probe")  # learn from the folder `train` and are tested on `test`


def check_test(cfg: Config, source: str | Path) -> None:
    """UserError where the data section or the questions lack what the task needs; `source` states them."""
    for key in ("train", "test") if cfg.task in FOLDERS else ():
        if cfg.data.get(key) is None:
            raise UserError(f"the data section of {source} has no {key!r}: {cfg.task} needs it")
    questions = cfg.get("questions", {})
    if not isinstance(questions, dict):
        raise UserError(f"questions in {source} are {questions!r}: write questions = dict(name=dict(templates=...))")
    for name, asked in questions.items():
        if not isinstance(asked, dict) or asked.get("templates") is None:
            raise UserError(f"question {name!r} has no templates: give it a list of prompts or a published list")
        if cfg.data.kind == "attributes" and asked.get("classes") is None:
            raise UserError(f"question {name!r} has no classes: kind 'attributes' needs the words that answer it")
    check_numbers(cfg)


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


def variant(cfg: Config) -> str | None:
    """What makes a test a protocol of its own: its published prompts, its prefix, or what is asked of the scenes."""
    if cfg.task == "zero_shot":
        return published_templates(cfg)
    return slug(cfg.get("prefix") or cfg.data.get("attribute") or "")


def published_templates(cfg: Config) -> str:
    """The name of the published list of prompts that a question asks with, where it is one: part of the protocol."""
    named = {asked.templates for asked in cfg.get("questions", {}).values() if isinstance(asked.templates, str)}
    return slug("-".join(sorted(named)))


def slug(text: str) -> str:
    """Text as part of an identifier: lower-case letters and digits, joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))
