"""The choices of a fine-tuning or a test that a reader compares: what a record's `settings` and `tested_on` hold."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from datasets.sections import Folder, Split, read_section
from engine.config import DATA, ENCODER
from engine.panels import SCORE_THRESHOLD
from engine.switches import precision

UNTRAINED = ("lr", "layer_decay", "iterations", "global_batch", "train_images")


def batch_of_process(cfg: Config) -> int:
    """Images of one process in one update, in however many passes."""
    return cfg.train_dataloader.batch_size * cfg.train_cfg.get("accumulation", 1)


def settings(cfg: Config, meta: dict, processes: int = 1) -> dict[str, Any]:
    """A record's `settings`, but for the number of training images; null where nothing is trained.

    Args:
        cfg: the run's configuration, whole or as far as it came before the run failed.
        meta: the encoder checkpoint's `checkpoint.json`.
        processes: that trained together.
    """
    common = {
        "precision": "float32", "input_size": input_size(cfg, meta), **image_constants(cfg, meta), **limits(cfg),
        "processes": processes, "options": list(cfg.get("departures", ())),
    }  # fmt: skip
    if "optim_wrapper" not in cfg:
        return {**dict.fromkeys(UNTRAINED), **common}
    return {
        **common,
        "lr": cfg.optim_wrapper.optimizer.lr,
        "layer_decay": cfg.optim_wrapper.get("paramwise_cfg", {}).get("layer_decay"),
        "iterations": cfg.train_cfg.max_iters,
        "global_batch": batch_of_process(cfg) * processes,
        "precision": precision(cfg),
        "train_images": None,
    }


def input_size(cfg: Config, meta: dict) -> list[int]:
    """(height, width) of training crops and of test images: the data's, or of whole images the encoder's own."""
    return list(cfg.data.get("size") or (meta["image"]["size"],) * 2)


def image_constants(cfg: Config, meta: dict) -> dict[str, list[float]]:
    """RGB mean and std, for images in 0..1, that the encoder's input was normalised with: the recipe's own where it
    has some, else the checkpoint's."""
    preprocessor = cfg.get("model", {}).get("data_preprocessor") or cfg.get("data_preprocessor") or {}
    found = {}
    for key in ("mean", "std"):
        stated = preprocessor.get(key, ENCODER)
        found[key] = meta["image"][key] if stated == ENCODER else [round(value / 255, 6) for value in stated]
    return found


def limits(cfg: Config) -> dict[str, int | None]:
    """How many detections of a test image are kept, and how many proposals looked at; null but for detectors."""
    test = cfg.get("model", {}).get("test_cfg") or {}
    stated = {"detections": test.get("rcnn"), "proposals": test.get("rpn")}
    most = {name: part and part.max_per_img for name, part in stated.items()}
    return {name: None if value == DATA else value for name, value in most.items()}  # a run may fail before it knows


def legend(cfg: Config) -> dict[str, Any] | None:
    """How to read the run's pictures: a colour for each class, the depth of the darkest, the least score that is drawn;
    None where it makes none."""
    hook = next((hook for hook in cfg.get("custom_hooks", ()) if hook["type"] == "PanelHook"), None)
    if hook is None:
        return None
    classes = cfg.test_dataloader.dataset.get("classes") or cfg.test_dataloader.dataset.get("metainfo", {}).get(
        "classes"
    )
    return {
        "classes": list(classes or ()),
        "palette": [[int(part) for part in colour] for colour in hook["palette"]],
        "max_depth": hook.get("max_depth") if hook["task"] == "depth" else None,
        "score_threshold": SCORE_THRESHOLD if hook["task"] == "det" else None,
    }


def tested_on(cfg: Config) -> str:
    """What the data set itself calls the split that the record's values are of."""
    role, section = "val" if cfg.role == "trial" else "test", read_section(cfg.data)
    if isinstance(section, Split):
        return section.named(role)
    if isinstance(section, Folder):
        return Path((section.val if role == "val" else None) or section.test or role).name
    return getattr(section, "split", None) or role
