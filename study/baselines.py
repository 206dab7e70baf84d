"""What needs no encoder: the most frequent class everywhere, and the mean depth map of the training images.

They are tested by a task's own evaluator on its own test images, and recorded as rows that no encoder may fall behind.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch.nn import functional

from backbones import IMAGENET_MEAN, IMAGENET_STD
from datasets.depth import MIN_DEPTH
from datasets.sections import read_section
from datasets.segmentation import IGNORED
from engine.bars import bar
from engine.catalogue import METHOD, TASK
from engine.config import hashed_content
from engine.errors import UserError
from engine.outcome import Outcome
from engine.run_folder import check_unfinished, flatten, occupied, open_run
from probes import linear_depth
from probes import segmentation as classes_of_pixels
from probes.data import LabelledImages, depths, segmentation, tested_split
from reports.records import write_record
from study.record import failed_record, metrics_of
from study.settings import UNTRAINED


def run_baseline(cfg: Config, command: str) -> dict[str, Any]:
    """Learn a baseline from the training labels, test it, and write and return its record.

    Args:
        cfg: from `study.configure.load_config`; its data are there.
        command: the command line that repeats it.

    Raises:
        UserError: a task that has no such baseline.
    """
    kind = METHOD[cfg.method].baseline
    if cfg.data.kind != kind or TASK[cfg.task].group not in ("dense", "probe"):
        raise UserError(f"{cfg.method} predicts what data of kind {kind!r} hold: it is no baseline of {cfg.task}")
    check_unfinished(Path(cfg.work_dir))
    with occupied(cfg.work_dir), DefaultScope.overwrite_default_scope("mmseg"):
        open_run(cfg, flatten(hashed_content(cfg)), command)
        started = time.perf_counter()
        outcome = (majority_class if kind == "seg" else mean_depth)(cfg)
        record = failed_record(cfg, meta_of(cfg), "", command)  # all but what was measured
        unset = dict.fromkeys((*UNTRAINED, "precision", "mean", "std"))
        cost = {**dict.fromkeys(record["cost"]), "finetune_wall_s": round(time.perf_counter() - started, 2)}
        record |= {"status": "ok", "error": None, "checkpoint": None, "cost": cost,
                   "settings": {**record["settings"], **unset, **outcome.settings},
                   "metrics": metrics_of(outcome, cfg)}  # fmt: skip
        if outcome.details:
            record["details"] = outcome.details
        write_record(cfg.work_dir, record)
    return record


def meta_of(cfg: Config) -> dict[str, Any]:
    """What `study.record` reads of a checkpoint, of something that has none."""
    return {
        "method": cfg.method, "captions": None, "scale": cfg.scale, "updates": 0, "samples_seen": 0, "parent": None,
        "data": {"name": "none", "samples": 0}, "encoder": {"name": "none", "kwargs": {}},
        "sha256": {"encoder.safetensors": "0" * 64},
        "image": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD), "size": 1},
        "cost": dict.fromkeys(("wall_s", "samples_per_s")),
    }  # fmt: skip


def labels(images: LabelledImages) -> Iterator[np.ndarray]:
    """The label or depth maps of a split [H, W], as the files hold them and in their order, with a bar."""
    with bar(len(images), "training labels", "image") as shown:
        for number in range(len(images)):
            yield images.label(number)
            shown.update()


def majority_class(cfg: Config) -> Outcome:
    """The class with the most training pixels, predicted everywhere."""
    data = read_section(cfg.data)
    learnt, asked = segmentation(data, "train"), segmentation(data, tested_split(cfg))
    counts = np.zeros(IGNORED + 1, np.int64)
    for label in labels(learnt):
        counts += np.bincount(label.ravel(), minlength=IGNORED + 1)
    score = torch.zeros(len(data.classes), 1, 1)  # [K, h, w]
    score[int(counts[: len(data.classes)].argmax())] = 1
    measures, details = classes_of_pixels.measure(cfg, [score] * len(asked), asked, list(data.classes))
    return Outcome(measures, {"train_images": len(learnt)}, details=details)


def mean_depth(cfg: Config) -> Outcome:
    """The mean depth of each place over the training images.

    The map has the size of the data section; where nothing was ever measured it has the mean of all measured places.
    """
    data = read_section(cfg.data)
    learnt, asked = depths(data, "train"), depths(data, tested_split(cfg))
    total, measured = (np.zeros(tuple(data.size)) for _ in range(2))  # [H, W]
    for label in labels(learnt):
        depth = torch.from_numpy(label)[None, None]  # [1, 1, h, w]
        depth = functional.interpolate(depth, total.shape, mode="nearest-exact")[0, 0].numpy().astype(np.float64)
        valid = (depth > MIN_DEPTH) & (depth < data.max_depth)
        total += np.where(valid, depth, 0)
        measured += valid
    mean = np.where(measured > 0, total / np.maximum(measured, 1), total.sum() / measured.sum())
    learned = torch.from_numpy(mean.astype(np.float32))[None]  # [1, H, W]
    return Outcome(linear_depth.measure(cfg, iter([learned] * len(asked)), asked), {"train_images": len(learnt)})
