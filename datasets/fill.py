"""How a `data` section fills the marks "<data>" of a configuration: loaders, heads, evaluators, sizes, pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from datasets.annotations import read_annotations
from datasets.limits import fill_limits
from datasets.sections import KINDS, SPLIT_NAMES, Coco, Depth, Folder, Section, Seg, Shards, Split, read_section
from engine.config import DATA, fill
from engine.errors import UserError


def fill_data(cfg: Config, kinds: Sequence[str]) -> None:
    """Fill the loaders, heads and evaluators of `cfg` from `cfg.data`.

    Args:
        kinds: of data that the task takes.

    Raises:
        UserError: the section is not whole, or its kind does not serve the task.
    """
    stated = cfg.get("data")
    if isinstance(stated, Mapping) and stated.get("kind") in {*KINDS}.difference(kinds):
        raise UserError(
            f"data set {stated.get('name')!r} is of kind {stated['kind']!r}, but {cfg.task} needs "
            f"{' or '.join(map(repr, kinds))}: see README, 'Your own data'"
        )
    section = read_section(stated)
    fillers = {Seg: fill_segmentation, Depth: fill_depth, Coco: fill_detection}
    if cfg.task == "pretrain":
        fill_pretraining(cfg, section)
    elif type(section) in fillers and "train_dataloader" in cfg:
        fillers[type(section)](cfg, section)
        fill_size(cfg, section)
    elif "train_dataloader" in cfg:
        fill_classification(cfg, section)
    elif isinstance(section, Depth):  # of a probe, which builds its loaders itself
        fill(cfg.test_evaluator, DATA, {"max_depth": section.max_depth})


def loaders(cfg: Config) -> list[tuple[str, ConfigDict]]:
    """The three loaders, each with the split it reads.

    A trial of the learning-rate grid is scored on validation images, so that test images are only ever reported.
    """
    tested = "val" if cfg.role == "trial" else "test"
    return [("train", cfg.train_dataloader), ("val", cfg.val_dataloader), (tested, cfg.test_dataloader)]


def fill_segmentation(cfg: Config, data: Seg) -> None:
    """Image and label folders (mmseg layout)."""
    palette = data.palette or distinct_colours(len(data.classes))
    for split, loader in loaders(cfg):
        loader.dataset.update(
            **data.folders(split), labels=data.labels.format(split=data.named(split)), classes=list(data.classes),
            palette=palette, ignore=list(data.ignore), reduce_zero_label=data.reduce_zero_label,
        )  # fmt: skip
    fill(cfg.model, DATA, {"num_classes": len(data.classes)})
    add_panels(cfg, "seg", palette)


def fill_depth(cfg: Config, data: Depth) -> None:
    """RGB and 16-bit depth folders (NYUv2 layout)."""
    for split, loader in loaders(cfg):
        loader.dataset.update(
            **data.folders(split), depths=data.labels.format(split=data.named(split)), depth_scale=data.depth_scale,
            max_depth=data.max_depth,
        )  # fmt: skip
    for part in (cfg.model, cfg.val_evaluator, cfg.test_evaluator):
        fill(part, DATA, {"max_depth": data.max_depth})
    add_panels(cfg, "depth", (), max_depth=data.max_depth)


def fill_detection(cfg: Config, data: Coco) -> None:
    """COCO JSON annotations and an image folder."""
    file = {split: data.annotations.format(split=data.named(split)) for split in SPLIT_NAMES}
    classes = data.classes or coco_classes(Path(data.root, file["train"]))
    palette = data.palette or distinct_colours(len(classes))
    for split, loader in loaders(cfg):
        loader.dataset.update(
            data_root=data.root,
            ann_file=file[split],
            data_prefix=dict(img=data.images.format(split=data.named(split))),
            metainfo=dict(classes=list(classes), palette=palette),
        )
    cfg.val_evaluator.ann_file = str(Path(data.root, cfg.val_dataloader.dataset.ann_file))
    cfg.test_evaluator.ann_file = str(Path(data.root, cfg.test_dataloader.dataset.ann_file))
    fill(cfg.model, DATA, {"num_classes": len(classes)})
    fill_limits(cfg)
    add_panels(cfg, "det", palette)


def fill_pretraining(cfg: Config, data: Section) -> None:
    """Shards, class folders or densely labelled images; the dataset class knows the layout below its root."""
    cfg.train_dataloader.dataset.root = data.root
    if isinstance(data, Shards):
        cfg.train_dataloader.dataset.captions = cfg.captions


def fill_classification(cfg: Config, data: Folder) -> None:
    """A folder with a folder per class for each split: train, test, and val where there is one; see `loaders`."""
    for key in ("train", "test"):
        if getattr(data, key) is None:
            raise UserError(
                f"data set {data.name!r} has no {key!r}: add it to its data section (README, 'Your own data')"
            )
    roots = {"train": data.train, "val": data.val or data.test, "test": data.test}
    for split, loader in loaders(cfg):
        loader.dataset.root = roots[split]


def fill_size(cfg: Config, data: Split) -> None:
    """The data set's (height, width) wherever a size is asked for; `scale` counts (width, height)."""
    height, width = data.size
    sizes = {"size": (height, width), "crop_size": (height, width), "scale": (width, height)}
    fill(cfg.model.data_preprocessor, DATA, sizes)
    for _, loader in loaders(cfg):
        fill(loader.dataset.pipeline, DATA, sizes)


def coco_classes(path: Path) -> list[str]:
    """Category names of a COCO file in its own order, which is how mmdet numbers them."""
    return [category["name"] for category in read_annotations(path)["categories"]]


def distinct_colours(count: int) -> list[list[int]]:
    """`count` RGB colours spread by the golden angle over the hue circle, for data sets without a palette."""
    hues = (np.arange(count) * 0.618034) % 1
    channel = np.abs((hues[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1  # [count, 3], hue to RGB
    return (255 * (0.25 + 0.7 * np.clip(channel, 0, 1))).astype(int).tolist()


def add_panels(cfg: Config, task: str, palette: Any, **extra: Any) -> None:
    """Ask for qualitative pictures of the first test images."""
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="PanelHook", task=task, palette=palette, **extra)]
