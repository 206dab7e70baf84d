"""Whatever label and depth files have gone through: where they are accepted, scores are those of counted pixels."""

import math
from random import Random

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from PIL import Image, ImageOps

import depth.metric  # noqa: F401  registers it
from benchmarks.fuzzing import data
from benchmarks.fuzzing.kinds import edit, lay_out
from datasets.depth import LoadDepth
from datasets.segmentation import LabelIds, LoadImageStrict, LoadLabels
from engine.errors import UserError

CLASSES, WHERE = ("a", "b", "c"), "train/0.png"
TURNS = {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}  # fmt: skip


def plane(path, image_path) -> np.ndarray:
    """A map's numbers as its image is shown, by Pillow alone."""
    with Image.open(path) as stored:
        bits = path.read_bytes()[24] if stored.format == "PNG" and stored.mode == "L" else 8
        numbers = np.array(ImageOps.exif_transpose(stored)).astype(np.int64)
    numbers = numbers // {1: 255, 2: 85, 4: 17, 8: 1}[bits]
    with Image.open(image_path) as image:
        shown = ImageOps.exif_transpose(image).size[::-1]
        orientation = image.getexif().get(0x0112, 1)
    if numbers.shape == shown:
        return numbers
    return np.array(Image.fromarray(numbers.astype(np.int32)).transpose(TURNS[orientation]))


def mutants(kind, folder, load, about):
    """(number, what training reads, the map's numbers) of the accepted inputs of a kind, after one to three edits."""
    for number in range(100):
        draw = Random(f"scores {number}")
        files = {name: content for name, content in kind.good[number % len(kind.good)].items() if name.endswith(WHERE)}
        for _ in range(draw.choice((1, 1, 2, 3))):
            edit(data.Kind([], None), files, draw)
        place = folder / str(number)
        lay_out(files, place)
        image, (stored,) = place / f"images/{WHERE}", [place / name for name in files if not name.startswith("images")]
        paths = {"img_path": str(image), "seg_map_path": str(stored), "depth_map_path": str(stored), "seg_fields": []}
        try:
            read = load.transform(LoadImageStrict().transform({**paths, **about(number)}))
        except UserError:
            continue
        yield number, read, plane(stored, image)


def scored(maps, metric):
    metric.dataset_meta = {"classes": CLASSES}
    metric.process({}, [{name: {"data": torch.tensor(values)[None]} for name, values in maps.items()}])
    return metric.evaluate(size=1)


def test_miou_is_that_of_counted_pixels(tmp_path):
    kinds, same = [((7,), False), ((), True), ((2, 9), False)], 0
    for number, read, truth in mutants(
        data.labels(), tmp_path, LoadLabels(), lambda k: {"label_ids": LabelIds.build(2 + (k % 3 == 0), *kinds[k % 3])}
    ):
        (ignore, zero), classes = kinds[number % 3], 2 + (number % 3 == 0)
        guess = np.random.default_rng(number).integers(0, classes, truth.shape)
        metric = IoUMetric(iou_metrics=["mIoU"])
        found = scored({"pred_sem_seg": guess, "gt_sem_seg": read["gt_seg_map"]}, metric)["mIoU"]
        counts = (truth != 255) & ~np.isin(truth, ignore) & ~(zero & (truth == 0))
        ious = []
        for k in range(classes):
            true, said = truth == k + zero, (guess == k) & counts
            if (true | said).any():
                ious.append((true & said).sum() / (true | said).sum())
        assert found == pytest.approx(100 * np.mean(ious), abs=0.0051), number
        same += 1
    assert same >= 15, "the property speaks of many files"


def test_depth_errors_are_those_of_counted_pixels(tmp_path):
    scales, same = [(1000.0, 10.0), (1000.0, 4.0), (256.0, 30.0)], 0
    about = lambda k: dict(zip(("depth_scale", "max_depth"), scales[k % 3], strict=True))  # noqa: E731
    for number, read, truth in mutants(data.depth(), tmp_path, LoadDepth(), about):
        scale, most = scales[number % 3]
        guess = np.random.default_rng(number).uniform(0.2, most, truth.shape)
        metric = METRICS.build(dict(type="PerImageDepthMetric", max_depth=most))
        found = scored({"pred_depth_map": guess, "gt_depth_map": read["gt_depth_map"]}, metric)
        square = ratio = near = pixels = 0
        for stored, said in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True):
            metres = stored / scale
            if not 0.001 < metres < most:
                continue
            pixels += 1
            square += (said - metres) ** 2
            ratio += abs(said - metres) / metres
            near += max(said / metres, metres / said) < 1.25
        assert found["rmse"] == pytest.approx(math.sqrt(square / pixels), rel=1e-5), number
        assert found["abs_rel"] == pytest.approx(ratio / pixels, rel=1e-5), number
        assert found["d1"] == pytest.approx(near / pixels), number
        same += 1
    assert same >= 15, "the property speaks of many files"
