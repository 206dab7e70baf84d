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
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, DefaultScope
from mmengine.structures import PixelData
from torch.nn import functional

from backbones import IMAGENET_MEAN, IMAGENET_STD
from datasets.depth import MIN_DEPTH
from datasets.segmentation import IGNORED
from engine.bars import bar
from engine.catalogue import METHOD
from engine.config import hashed_content
from engine.errors import UserError
from engine.run_folder import check_unfinished, flatten, occupied, open_run
from reports.records import write_record
from study.record import failed_record, pick_metrics
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
    if cfg.data.kind != kind or "train_dataloader" not in cfg:
        raise UserError(f"{cfg.method} predicts what data of kind {kind!r} hold: it is no baseline of {cfg.task}")
    check_unfinished(Path(cfg.work_dir))
    with occupied(cfg.work_dir), DefaultScope.overwrite_default_scope(cfg.default_scope):
        open_run(cfg, flatten(hashed_content(cfg)), command)
        started = time.perf_counter()
        measured, count = (measure_segmentation if kind == "seg" else measure_depth)(cfg)
        record = failed_record(cfg, meta_of(cfg), "", command)  # all but what was measured
        unset = dict.fromkeys((*UNTRAINED, "precision", "mean", "std"))
        settings = {**record["settings"], **unset, "train_images": count}
        cost = {**dict.fromkeys(record["cost"]), "finetune_wall_s": round(time.perf_counter() - started, 2)}
        record |= {"status": "ok", "error": None, "checkpoint": None, "settings": settings, "cost": cost,
                   "metrics": pick_metrics(cfg.metrics, measured, cfg.work_dir)}  # fmt: skip
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


def labels(dataset: dict[str, Any], loader: str) -> Iterator[dict]:
    """The samples of a training set with their labels as the files hold them, in the order of the files."""
    built = DATASETS.build({**dataset, "pipeline": [{"type": "LoadImageStrict"}, {"type": loader}]})
    with bar(len(built), "training labels", "image") as shown:
        for index in range(len(built)):
            yield built[index]
            shown.update()


def measure_segmentation(cfg: Config) -> tuple[dict[str, float], int]:
    """The metrics of the class with the most training pixels, predicted everywhere; and how many images it is from."""
    classes, images = len(cfg.data.classes), 0
    counts = np.zeros(IGNORED + 1, np.int64)
    for sample in labels(cfg.train_dataloader.dataset.to_dict(), "LoadLabels"):
        counts += np.bincount(sample["gt_seg_map"].ravel(), minlength=IGNORED + 1)
        images += 1
    chosen = int(counts[:classes].argmax())
    return evaluated(cfg, "gt_sem_seg", lambda truth: torch.full_like(truth, chosen)), images


def measure_depth(cfg: Config) -> tuple[dict[str, float], int]:
    """The metrics of the mean depth of each place over the training images, and their number.

    The map has the size of the data section; where nothing was ever measured it has the mean of all measured places.
    """
    total, measured = (np.zeros(tuple(cfg.data.size)) for _ in range(2))  # [H, W]
    images = 0
    for sample in labels(cfg.train_dataloader.dataset.to_dict(), "LoadDepth"):
        depth = torch.from_numpy(sample["gt_depth_map"])[None, None]  # [1, 1, h, w]
        depth = functional.interpolate(depth, total.shape, mode="nearest-exact")[0, 0].numpy().astype(np.float64)
        valid = (depth > MIN_DEPTH) & (depth < cfg.data.get("max_depth", 10.0))
        total += np.where(valid, depth, 0)
        measured += valid
        images += 1
    mean = np.where(measured > 0, total / np.maximum(measured, 1), total.sum() / measured.sum())
    learned = torch.from_numpy(mean.astype(np.float32))[None, None]

    def predict(truth: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(learned, truth.shape[-2:], mode="bilinear", align_corners=False)[0]

    return evaluated(cfg, "gt_depth_map", predict), images


def evaluated(cfg: Config, key: str, predict: Any) -> dict[str, float]:
    """What the task's test evaluator makes of predictions that are functions of the truth's size alone.

    Args:
        key: of the truth in a sample. predict: [1, H, W] of the truth -> the prediction, of that size.
    """
    dataset = DATASETS.build(cfg.test_dataloader.dataset.to_dict())
    evaluator = Evaluator(cfg.test_evaluator.to_dict())
    evaluator.dataset_meta = dataset.metainfo
    with bar(len(dataset), "test", "image") as shown:
        for index in range(len(dataset)):
            sample = dataset[index]["data_samples"]
            truth = getattr(sample, key).data
            setattr(sample, key.replace("gt", "pred"), PixelData(data=predict(truth)))
            evaluator.process(data_samples=[sample])
            shown.update()
    return evaluator.evaluate(len(dataset))
