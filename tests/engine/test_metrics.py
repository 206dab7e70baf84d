"""The evaluators that the configs name, on a fixture: AP against pycocotools alone, mIoU against counting pixels."""

import json

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS as DETECTION_METRICS
from mmseg.registry import METRICS as SEGMENTATION_METRICS
from pycocotools import mask as run_length
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from study.configure import load_config

CLASSES = ("cube", "ball")
SIDE = 64


def rectangle(x, y, width, height):
    """A mask [SIDE, SIDE] of a box, with a corner cut so that box and mask AP differ."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[y : y + height, x : x + width] = 1
    mask[y : y + height // 2, x : x + width // 2] = 0
    return mask


def encoded(mask):
    code = run_length.encode(np.asfortranarray(mask))
    return {"size": code["size"], "counts": code["counts"].decode()}


@pytest.fixture
def fixture(tmp_path):
    """Annotations of 6 images, and predictions of which some are moved, doubled, missing or of the wrong class."""
    draw = np.random.default_rng(0)
    images, annotations, predictions = [], [], []
    for image in range(6):
        images.append({"id": image, "file_name": f"{image}.png", "height": SIDE, "width": SIDE})
        for _ in range(4):
            box = [int(v) for v in (*draw.integers(0, 30, 2), *draw.integers(8, 34, 2))]
            category = int(draw.integers(1, 3))
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0,
                "area": box[2] * box[3], "segmentation": encoded(rectangle(*box)),
            })  # fmt: skip
            for _ in range(int(draw.integers(0, 3))):
                x, y = (int(v) for v in np.clip(np.array(box[:2]) + draw.integers(-3, 4, 2), 0, 30))
                other = category if draw.random() < 0.8 else 3 - category
                predictions.append((image, other, [x, y, *box[2:]], float(draw.random())))
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path, predictions


def by_pycocotools(path, predictions, kind):
    truth = COCO(str(path))
    listed = [{"image_id": image, "category_id": category, "score": score, "bbox": box,
               "segmentation": encoded(rectangle(*box))} for image, category, box, score in predictions]  # fmt: skip
    for entry in listed:  # for masks, loadRes takes areas from masks only where no boxes are given
        if kind == "segm":
            del entry["bbox"]
    evaluation = COCOeval(truth, truth.loadRes(listed), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


def test_box_and_mask_ap_are_those_of_pycocotools(fixture):
    path, predictions = fixture
    cfg = load_config("det_configs/mask_rcnn_random.py")
    metric = DETECTION_METRICS.build({**cfg.test_evaluator, "ann_file": str(path)})
    metric.dataset_meta = {"classes": CLASSES}
    for image in range(6):
        own = [entry for entry in predictions if entry[0] == image]
        boxes = torch.tensor([box for _, _, box, _ in own], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found = {
            "bboxes": boxes,
            "scores": torch.tensor([score for *_, score in own]),
            "labels": torch.tensor([category - 1 for _, category, _, _ in own]),
            "masks": torch.tensor(np.array([rectangle(*box) for _, _, box, _ in own])).reshape(-1, SIDE, SIDE),
        }
        sample = {"img_id": image, "ori_shape": (SIDE, SIDE), "pred_instances": found}
        metric.process({}, [sample])
    measured = metric.evaluate(size=6)
    for name, kind in (("box_AP", "bbox"), ("mask_AP", "segm")):
        expected = by_pycocotools(path, predictions, kind)
        assert 0.1 < expected < 0.9
        assert measured[cfg.metrics[name].source] == pytest.approx(expected, abs=5.1e-4)  # mmdet rounds to 0.1 %


def test_miou_is_that_of_counting_pixels():
    cfg = load_config("seg_configs/upernet_random.py")
    metric = SEGMENTATION_METRICS.build(dict(cfg.test_evaluator))
    classes = 4
    metric.dataset_meta = {"classes": tuple("abcd")}
    draw = torch.Generator().manual_seed(0)
    inside, union = [0] * classes, [0] * classes
    for _ in range(5):
        truth = torch.randint(0, classes, (16, 20), generator=draw)
        wrong = torch.rand(16, 20, generator=draw) < 0.4
        predicted = torch.where(wrong, torch.randint(0, classes, (16, 20), generator=draw), truth)
        truth[torch.rand(16, 20, generator=draw) < 0.1] = 255  # ignored
        metric.process({}, [{"gt_sem_seg": {"data": truth[None]}, "pred_sem_seg": {"data": predicted[None]}}])
        for label, guess in zip(truth.flatten().tolist(), predicted.flatten().tolist(), strict=True):
            if label != 255:
                for k in range(classes):
                    inside[k] += label == guess == k
                    union[k] += k in (label, guess)
    expected = 100 * sum(a / b for a, b in zip(inside, union, strict=True)) / classes
    assert 30 < expected < 70
    # pooled over the images, not a mean of each image's; mmseg rounds to 0.01 %
    assert metric.evaluate(size=5)[cfg.metrics.mIoU.source] == pytest.approx(expected, abs=5.1e-3)
