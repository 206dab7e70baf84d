"""A synthetic tree of valid records with tiny pictures, for the report's tests."""

import copy
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from engine.catalogue import family_of
from reports.records import Record, write_record
from reports.sections import sections

METHODS = {  # id -> name, captions, reference kind
    "random": ("Random", None, "floor"),
    "supervised": ("Supervised", None, None),
    "clip": ("CLIP", "noisy", None),
    "clip_aligned": ("CLIP", "aligned", None),
    "maskclip": ("MaskCLIP", "noisy", None),
    "mae": ("MAE", None, None),
    "oracle": ("Oracle", None, "ceiling"),
}
HEADS = {"upernet": "UPerHead", "semantic_fpn": "FPNHead", "mask_rcnn": "MaskRCNN", "depth": "DepthHead"}
IMAGE_LEVEL = {"zero_shot": "zero-shot", "retrieval": "zero-shot", "knn": "20-NN", "linear_probe": "linear probe"}
CENTRES = {
    "random": 39.1,
    "supervised": 42.0,
    "clip": 38.4,
    "clip_aligned": 40.6,
    "maskclip": 39.9,
    "mae": 44.1,
    "oracle": 58.0,
}


def record(task="upernet", method="maskclip", seed=0, **changes):
    """A valid record; `changes` replace top-level keys."""
    name, captions, kind = METHODS[method]
    base = CENTRES[method] + noise(task, method, seed)
    metrics = {
        "upernet": {"mIoU": metric(base, "%", primary=True), "aAcc": metric(base + 30, "%")},
        "semantic_fpn": {"mIoU": metric(base - 3, "%", primary=True)},
        "mask_rcnn": {"box_AP": metric(base - 20, "%", primary=True), "mask_AP": metric(base - 23, "%")},
        "depth": {"rmse": metric(1.6 - base / 60, "m", "down", primary=True), "delta1": metric(base / 70, "")},
        "zero_shot": {"top1": over_images(base - 10, 14.3), "colour_top1": metric(base, "%")},
        "retrieval": {"image_to_text_R1": over_images(base - 20, 0.8), "text_to_image_R1": metric(base - 25, "%")},
        "knn": {"top1": over_images(base + 20, 14.3)},
        "linear_probe": {"top1": metric(base + 25, "%", primary=True)},
    }[task]
    grid = {"lr": [0.0003, 0.001], "layer_decay": [0.65, 1.0]}
    trials = [
        {"lr": lr, "layer_decay": decay, "value": base - 1 - lr * 100 - decay}
        for lr in grid["lr"]
        for decay in grid["layer_decay"]
    ]
    floor = method == "random"
    result = {
        "schema": "densebench/result",
        "version": 3,
        "status": "ok",
        "error": None,
        "task": task,
        "protocol": f"scenes-{task}-64-tiny-v1" if task in HEADS else f"scenes-{task}-tiny-v1",
        "dataset": "scenes",
        "split": "test",
        "tested_on": "test",
        "scale": "tiny",
        "role": "final",
        "name": name,
        "source": None,
        "family": family_of(method),
        "method": method,
        "method_name": name,
        "captions": captions,
        "reference": kind is not None,
        "reference_kind": kind,
        "head": (HEADS | IMAGE_LEVEL)[task],
        "seed": seed,
        "checkpoint": {
            "sha256": hashlib.sha256(f"{method}{seed}".encode()).hexdigest(),
            "encoder": {
                "name": "vit_tiny_patch16_224",
                "kwargs": {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 4},
            },
        },
        "metrics": metrics,
        "selection": {
            "metric": "val mIoU",
            "grid": grid,
            "trials": trials,
            "chosen": {"lr": 0.0003, "layer_decay": 0.65},
        },
        "settings": {
            "lr": 0.0003,
            "layer_decay": 0.65,
            "iterations": 400,
            "global_batch": 16,
            "processes": 1,
            "precision": "float32",
            "input_size": [64, 64],
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "train_images": 128,
            **dict.fromkeys(("detections", "proposals"), 20 if task == "mask_rcnn" else None),
            "options": [],
        },
        "budget": {
            "pretrain_updates": 0 if floor else 5500,
            "pretrain_samples": 0 if floor else 352000,
            "pretrain_data": {"name": "unknown", "samples": None},
            "pretrain_scale": "tiny",
        },
        "cost": {
            "pretrain_wall_s": 0 if floor else 812.5 + seed,
            "pretrain_samples_per_s": None if floor else 431.7,
            "finetune_wall_s": 33.1 + seed,
            "finetune_samples_per_s": 193.4,
            "peak_memory_mib": 811.0,
            "parameters": 2345678,
            "flops": 1.234e9,
        },
        "command": f"python tools/train.py seg_configs/{task}_{method}.py --seed {seed}",
        "config_hash": hashlib.sha256(task.encode()).hexdigest(),
        "code_version": "0123456789ab",
        "versions": {"torch": "2.13.0", "timm": "1.0.31"},
        "hardware": {"device": "cpu", "cpu": "Example CPU, 2 cores", "threads": 1},
        "samples": [],
    }
    return copy.deepcopy(result | changes)


def untrained():
    """The settings of a record of what nothing trains."""
    return dict.fromkeys(record()["settings"]) | {"options": []}


def as_version_2(entry):
    """What the release before version 3 would have written of the same run."""
    old = {key: value for key, value in entry.items() if key not in ("name", "source", "family", "tested_on")}
    kept = ("lr", "layer_decay", "iterations", "train_images")
    settings = {key: entry["settings"][key] for key in kept} | {"batch_size": entry["settings"]["global_batch"]}
    budget = {key: entry["budget"][key] for key in ("pretrain_updates", "pretrain_samples")}
    return old | {"version": 2, "settings": settings, "budget": budget,
                  "protocol": entry["protocol"].replace("-64-", "-")}  # fmt: skip


def noise(task, method, seed):
    """Independent seed noise with a standard deviation of 0.8 points."""
    digest = hashlib.sha256(f"{task}/{method}/{seed}".encode()).digest()
    return float(np.random.default_rng(list(digest)).normal(0, 0.8))


def metric(value, unit, direction="up", primary=False):
    """A metric entry."""
    return {"value": float(value), "unit": unit, "direction": direction, "primary": primary}


def over_images(value, chance):
    """A primary metric with an interval over test images and what guessing gives."""
    return metric(value, "%", primary=True) | {"low": value - 2, "high": value + 2, "chance": chance}


def failed(error="loss is not finite at iteration 31", **keywords):
    """A record of a run that failed."""
    return record(status="failed", error=error, metrics={}, **keywords)


def pictures(folder: Path, method: str, task: str, count: int = 3) -> list[dict[str, str]]:
    """Write `count` triples of pictures; inputs depend on the index alone, predictions on the method too."""
    samples = []
    for k in range(count):
        generator = np.random.default_rng([k, len(task)])
        y, x = np.mgrid[:64, :64]
        shade = (120 + 90 * np.sin(x / (9 + k)) * np.cos(y / 13))[..., None]
        image = np.clip(shade + generator.normal(0, 12, (64, 64, 3)), 0, 255).astype(np.uint8)
        blob = (x - 20 - 8 * k) ** 2 + (y - 34) ** 2 < 260
        truth = np.where(blob[..., None], [0, 114, 178], np.where(y[..., None] > 40, [200, 200, 200], [240, 228, 66]))
        noise = np.random.default_rng([k, len(method)]).random((64, 64)) < 0.06
        prediction = np.where(noise[..., None], [213, 94, 0], truth)
        sample = {}
        for name, array in (("image", image), ("truth", truth), ("prediction", prediction)):
            sample[name] = f"samples/{k}_{name}.png"
            (folder / "samples").mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / sample[name])
        samples.append(sample)
    return samples


def tree(root: Path, methods=tuple(METHODS), seeds=(0, 1, 2), tasks=tuple(HEADS), with_pictures=True, **changes):
    """Write a whole study below `root`; return root."""
    for task in tasks:
        for method in methods:
            for seed in seeds:
                entry = record(task, method, seed, **changes)
                folder = root / entry["scale"] / task / method / f"seed{seed}"
                if with_pictures and seed == seeds[0]:
                    entry["samples"] = pictures(folder, method, task)
                write_record(folder, entry)
    return root


def miou(method, seed, value, **changes):
    """A UperNet record with a value given by hand."""
    return record("upernet", method, seed, metrics={"mIoU": metric(value, "%", primary=True)}, **changes)


def rmse(method, seed, value):
    return record("depth", method, seed, metrics={"rmse": metric(value, "m", "down", primary=True)})


def section_of(*entries):
    found, unused = sections([Record(f"{k}/result.json", None, entry) for k, entry in enumerate(entries)])
    assert len(found) == 1 and unused == []
    return found[0]


def series(method, *values, make=miou):
    return [make(method, seed, value) for seed, value in enumerate(values)]


STUDY = [
    *series("random", 30.0, 31.0, 32.0),
    *series("oracle", 50.0, 51.0, 52.0),
    *series("clip", 32.0, 33.0, 34.0),
    *series("mae", 36.0, 37.5, 37.5),
    miou("maskclip", 0, 33.5),
    failed("disk is full", task="upernet", method="maskclip", seed=1),
    *series("random", 1.0, 1.1, 1.2, make=rmse),
    *series("oracle", 0.3, 0.4, 0.5, make=rmse),
    *series("mae", 0.7, 0.8, 0.9, make=rmse),
    failed("out of | memory <b>", task="depth", method="clip", seed=0),
]
