"""A finished run's model on pictures that nobody labelled: files of what it predicts, and drawings of them."""

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from torch import nn

from datasets.images import is_image, read_rgb
from datasets.predictions import ClassMaps, DepthMaps, Detections, Writer, names_below
from engine.bars import bar
from engine.errors import UserError
from engine.panels import SCORE_THRESHOLD, write_png
from study.drawing import draw_classes, draw_depth, draw_detections
from study.finished import Finished
from study.run import check_predicts

DRAWN = "drawn"  # folder of the drawings, below that of the predictions
LABELS = ("LoadLabels", "LoadDepth", "LoadAnnotations")  # steps of a test pipeline that pictures alone do not take


def predict(
    run: str | Path, source: str | Path, out: str | Path, threshold: float = SCORE_THRESHOLD, draw: bool = True
) -> str:
    """Predict every picture of `source`; returns what was left where.

    Args:
        run: folder of a finished run of a dense task.
        source: a picture, or a folder of them, searched with its subfolders.
        out: folder for the predictions, see `datasets.predictions`; below it `drawn` for the drawings.
        threshold: of the score from which detections are drawn; the files hold all.
        draw: whether to draw.

    Raises:
        UserError: no finished run of a dense task, no pictures, one that cannot be read (those before it are left), or
            predictions of another model or picture in `out`.
    """
    finished, out = Finished.read(run), Path(out)
    check_predicts(finished.cfg, "predict")
    top, pictures = pictures_of(Path(source))
    names = names_below(top, pictures)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder: choose another, or delete it")
    writer, entries = writer_of(finished, out), []
    shown = bar(len(pictures), "predict", "picture")
    for number, sample in enumerate(samples(finished, pictures), start=1):
        entry = writer.add(sample, names[sample.img_path], number)
        if draw:
            name = Path(names[sample.img_path])
            write_png(out / DRAWN / name.with_suffix(".png"), drawing(finished, sample, threshold))
        entries.append(entry)
        shown.update()
    shown.close()
    writer.close(entries)
    told = f", drawn from score {threshold:g}" if writer.kind == "coco" else ""
    return f"{len(entries)} pictures{told if draw else ''}: {out}"


def pictures_of(source: Path) -> tuple[Path, list[Path]]:
    """The folder that pictures are named below, and the pictures in order. UserError where there is none."""
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise UserError(f"there is no picture or folder {source}")
    found = [Path(folder, name) for folder, below, names in os.walk(source) for name in names
             if not below.sort() and is_image(name)]  # fmt: skip
    if not found:
        raise UserError(f"{source} holds no picture: name a folder of .jpg, .png, .tif, .webp or .bmp files")
    return source, sorted(found)


def samples(finished: Finished, pictures: list[Path]) -> Iterator[Any]:
    """The data samples that a run's model makes of pictures, one by one, read and resized as in the run's test."""
    pipeline, model = picture_pipeline(finished), finished.model().to(get_device())
    with DefaultScope.overwrite_default_scope(finished.cfg.default_scope):
        for number, path in enumerate(pictures, start=1):
            yield predicted(model, pipeline, str(path), number)


def picture_pipeline(finished: Finished) -> Compose:
    """The run's test pipeline for pictures alone."""
    with DefaultScope.overwrite_default_scope(finished.cfg.default_scope):
        return Compose(picture_steps(finished))


def picture_steps(finished: Finished) -> list[ConfigDict]:
    """The steps of the run's test pipeline but those that read labels."""
    return [step for step in copy.deepcopy(finished.cfg.test_dataloader.dataset.pipeline) if step.type not in LABELS]


@torch.no_grad()
def predicted(model: nn.Module, pipeline: Compose, path: str, number: int) -> Any:
    """The data sample of one picture, at the picture's own size."""
    data = pipeline({"img_path": path, "img_id": number})
    (sample,) = model.test_step(pseudo_collate([data]))
    return sample


def classes_of(finished: Finished) -> tuple[list[str], list[list[int]]]:
    """Names and colours of a run's classes; none for depth."""
    dataset = finished.cfg.test_dataloader.dataset
    stated = dataset.get("metainfo", dataset)
    return list(stated.get("classes", [])), [list(colour) for colour in stated.get("palette") or []]


def writer_of(finished: Finished, folder: Path) -> Writer:
    """The writer of a run's predictions; categories count from 1, since no annotation file numbers them."""
    cfg, (classes, _) = finished.cfg, classes_of(finished)
    if cfg.data.kind == "seg":
        return ClassMaps(folder, classes, int(cfg.test_dataloader.dataset.reduce_zero_label))
    if cfg.data.kind == "depth":
        return DepthMaps(folder, cfg.model.decode_head.max_depth)
    return Detections(folder, classes, range(1, len(classes) + 1))


def drawing(finished: Finished, sample: Any, threshold: float) -> np.ndarray:
    """One sample's picture with what was predicted, uint8 RGB [H, W, 3]."""
    image = read_rgb(sample.img_path)
    classes, palette = classes_of(finished)
    kind = finished.cfg.data.kind
    if kind == "seg":
        return draw_classes(image, sample.pred_sem_seg.data.squeeze(0).cpu().numpy(), classes, palette)
    if kind == "depth":
        depth = sample.pred_depth_map.data.squeeze(0).float().cpu().numpy()
        return draw_depth(image, depth, finished.cfg.model.decode_head.max_depth)
    return draw_detections(image, sample.pred_instances, classes, palette, threshold)
