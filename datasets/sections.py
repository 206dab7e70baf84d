"""Bind a config's `data` section onto its data loaders, pipelines, heads and evaluators.

A `data` section names a data set once; a user's own data set is another such section (README, "Your own data"):

    data = dict(name="camvid", kind="seg", root="path/to/camvid", images="images/{split}", labels="annotations/{split}",
                classes=("sky", ...), ignore=(11,), size=(96, 128))

kind    "seg": image and label folders. "depth": RGB and 16-bit depth folders. "coco": COCO JSON and an image folder.
        "image_text": tar shards; "image_folder": a folder per class; "dense": images with "seg" and "depth" labels.
size    (height, width) in pixels that training crops and test images have.
suffixes  image_suffix and label_suffix, where file names differ by more than their extension ("_leftImg8bit.png").
splits  names of the folders or files that serve as train, val and test; the same three by default.

In the base configs whatever depends on the data set holds None and is filled here.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from engine.errors import UserError

SPLITS = dict(train="train", val="val", test="test")
DETECTION = ("mask_rcnn", "cascade_mask_rcnn")
CLASSIFICATION = ("finetune", "linear_probe", "attentive_probe")


def bind_data(cfg: Config) -> None:
    """Fill the loaders, heads and evaluators of `cfg` from `cfg.data`.

    Raises:
        UserError: the section lacks a key, or its kind does not serve the task.
    """
    data = cfg.data
    tasks = {
        "upernet": {"seg": bind_segmentation},
        "semantic_fpn": {"seg": bind_segmentation},
        "depth": {"depth": bind_depth},
        **dict.fromkeys(DETECTION, {"coco": bind_detection}),
        **dict.fromkeys(CLASSIFICATION, {"image_folder": bind_classification}),
        "pretrain": {"image_text": bind_pretraining, "image_folder": bind_pretraining, "dense": bind_pretraining},
    }
    if cfg.get("task") not in tasks:
        raise UserError(f"unknown task {cfg.get('task')!r}: the config's `task` must be one of {', '.join(tasks)}")
    binders = tasks[cfg.task]
    if data.get("kind") not in binders:
        raise UserError(
            f"data set {data.get('name')!r} is of kind {data.get('kind')!r}, but {cfg.task} needs "
            f"{' or '.join(map(repr, binders))}: see README, 'Your own data'"
        )
    if "root" not in data:
        raise UserError(f"data set {data.name!r} names no root folder: add root='path' to its data section")
    binders[data.kind](cfg, data)


def loaders(cfg: Config) -> list[tuple[str, ConfigDict]]:
    """The three loaders with the data set's name of the split each reads.

    A trial of the learning-rate grid is scored on validation images, so that test images are only ever reported.
    """
    names = {**SPLITS, **cfg.data.get("splits", {})}
    tested = "val" if cfg.role == "trial" else "test"
    return [(names["train"], cfg.train_dataloader), (names["val"], cfg.val_dataloader),
            (names[tested], cfg.test_dataloader)]  # fmt: skip


def bind_segmentation(cfg: Config, data: ConfigDict) -> None:
    """Image and label folders (mmseg layout)."""
    classes = require(data, "classes")
    palette = data.get("palette") or distinct_colours(len(classes))
    for split, loader in loaders(cfg):
        loader.dataset.update(
            data_root=data.root,
            images=data.get("images", "images/{split}").format(split=split),
            labels=data.get("labels", "annotations/{split}").format(split=split),
            classes=list(classes), palette=palette, ignore=list(data.get("ignore", ())),
            reduce_zero_label=data.get("reduce_zero_label", False), **suffixes(data),
        )  # fmt: skip
    fill(cfg.model, "num_classes", len(classes))
    bind_size(cfg, data)
    add_panels(cfg, "seg", palette)


def bind_depth(cfg: Config, data: ConfigDict) -> None:
    """RGB and 16-bit depth folders (NYUv2 layout)."""
    for split, loader in loaders(cfg):
        loader.dataset.update(
            data_root=data.root,
            images=data.get("images", "images/{split}").format(split=split),
            depths=data.get("labels", "depth/{split}").format(split=split),
            depth_scale=data.get("depth_scale", 1000.0),
            max_depth=data.get("max_depth", 10.0),
            **suffixes(data),
        )
    for part in (cfg.model, cfg.val_evaluator, cfg.test_evaluator):
        fill(part, "max_depth", data.get("max_depth", 10.0))
    bind_size(cfg, data)
    add_panels(cfg, "depth", (), max_depth=data.get("max_depth", 10.0))


def suffixes(data: ConfigDict) -> dict[str, str]:
    """File name endings of images and labels, where the section states them."""
    return {key: data[key] for key in ("image_suffix", "label_suffix") if key in data}


def bind_detection(cfg: Config, data: ConfigDict) -> None:
    """COCO JSON annotations and an image folder."""
    names = {**SPLITS, **data.get("splits", {})}
    annotations = data.get("annotations", "annotations/instances_{split}.json")
    classes = data.get("classes") or coco_classes(Path(data.root, annotations.format(split=names["train"])))
    palette = data.get("palette") or distinct_colours(len(classes))
    for split, loader in loaders(cfg):
        loader.dataset.update(
            data_root=data.root,
            ann_file=annotations.format(split=split),
            data_prefix=dict(img=data.get("images", "{split}").format(split=split)),
            metainfo=dict(classes=list(classes), palette=palette),
        )
    cfg.val_evaluator.ann_file = str(Path(data.root, cfg.val_dataloader.dataset.ann_file))
    cfg.test_evaluator.ann_file = str(Path(data.root, cfg.test_dataloader.dataset.ann_file))
    fill(cfg.model, "num_classes", len(classes))
    bind_size(cfg, data)
    add_panels(cfg, "det", palette)


def bind_pretraining(cfg: Config, data: ConfigDict) -> None:
    """Shards, class folders or densely labelled images; the dataset class knows the layout below its root."""
    cfg.train_dataloader.dataset.root = data.root
    if data.kind == "image_text":
        cfg.train_dataloader.dataset.captions = cfg.captions


def bind_classification(cfg: Config, data: ConfigDict) -> None:
    """A folder with a folder per class for each split: train, test, and val where there is one; see `loaders`."""
    val = data.get("val", require(data, "test"))
    cfg.train_dataloader.dataset.root = require(data, "train")
    cfg.val_dataloader.dataset.root = val
    cfg.test_dataloader.dataset.root = val if cfg.role == "trial" else data.test


def bind_size(cfg: Config, data: ConfigDict) -> None:
    """Give every transform whose size is None the data set's (height, width); `scale` counts (width, height)."""
    height, width = require(data, "size")
    if cfg.task not in DETECTION:
        cfg.model.data_preprocessor.size = (height, width)
    for _, loader in loaders(cfg):
        for transform in loader.dataset.pipeline:
            fill(transform, "crop_size", (height, width))
            fill(transform, "scale", (width, height))


def fill(node: Any, key: str, value: Any) -> None:
    """Set `key` to `value` wherever it is None at any depth of dicts and lists."""
    if isinstance(node, dict):
        for name, child in node.items():
            if name == key and child is None:
                node[name] = value
            else:
                fill(child, key, value)
    elif isinstance(node, list | tuple):
        for child in node:
            fill(child, key, value)


def require(data: ConfigDict, key: str) -> Any:
    """The value of `key`, or a sentence that says it is missing."""
    if data.get(key) is None:
        raise UserError(f"data set {data.name!r} has no {key!r}: add it to its data section (README, 'Your own data')")
    return data[key]


def coco_classes(path: Path) -> list[str]:
    """Category names of a COCO file in its own order, which is how mmdet numbers them."""
    try:
        return [category["name"] for category in json.loads(path.read_text())["categories"]]
    except FileNotFoundError:
        raise UserError(f"there is no annotation file {path}: check root and annotations of the data section") from None
    except (ValueError, KeyError, TypeError) as error:  # ValueError: neither JSON nor text
        raise UserError(f"{path} is not a COCO annotation file ({error!r}): is it whole?") from None


def distinct_colours(count: int) -> list[list[int]]:
    """`count` RGB colours spread by the golden angle over the hue circle, for data sets without a palette."""
    hues = (np.arange(count) * 0.618034) % 1
    channel = np.abs((hues[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1  # [count, 3], hue to RGB
    return (255 * (0.25 + 0.7 * np.clip(channel, 0, 1))).astype(int).tolist()


def add_panels(cfg: Config, task: str, palette: Any, **extra: Any) -> None:
    """Ask for qualitative pictures of the first test images."""
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="PanelHook", task=task, palette=palette, **extra)]
