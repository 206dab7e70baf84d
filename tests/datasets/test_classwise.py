"""What evaluators know class by class, against plain counting; limits that do not cap perfect predictions."""

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.evaluation import IoUMetric
from PIL import Image

from benchmarks.fuzzing.perfect import perfect_score
from datasets.confusion import SINGLY, ClasswiseIoU, rows_of
from datasets.detection import average_precision, mean_known
from datasets.limits import limits_of
from study.configure import load_config
from tests.datasets.coco_samples import build, changed, good, thing


def test_confusion_and_iou_are_those_of_counting():
    rng, classes = np.random.default_rng(0), ("a", "b", "c", "d")
    truth, found = rng.integers(0, 3, (2, 3, 9, 7)), rng.integers(0, 3, (2, 3, 9, 7))[::-1]
    truth, found = truth[0], found[1]
    truth[rng.random(truth.shape) < 0.2] = 255
    metrics = {}
    for kind in (IoUMetric, ClasswiseIoU):
        metric = kind(iou_metrics=["mIoU"])
        metric.dataset_meta = {"classes": classes}
        samples = [{"gt_sem_seg": {"data": torch.from_numpy(t)}, "pred_sem_seg": {"data": torch.from_numpy(f)}}
                   for t, f in zip(truth, found, strict=True)]  # fmt: skip
        metric.process({}, samples)
        metrics[kind] = metric.evaluate(len(samples))
    assert metrics[ClasswiseIoU] == metrics[IoUMetric], "mmseg's own"
    details = metric.details
    for k in range(3):
        pairs = [(t, f) for t, f in zip(truth.flat, found.flat, strict=True) if t != 255]
        both = sum((t, f) == (k, k) for t, f in pairs)
        either = sum(k in (t, f) for t, f in pairs)
        assert details["per_class"]["IoU"][k] == round(100 * both / either, 2)
        row = details["confusion"][k]
        assert row["right"] == both and row["others"] == 0
        assert dict(row["wrong"]) == {j: pairs.count((k, j)) for j in range(3) if j != k and (k, j) in pairs}
    assert details["per_class"]["IoU"][3] is None, "a class that is nowhere has no IoU"


def test_many_confusions_are_summed_beyond_the_largest():
    matrix = [[0] * 40 for _ in range(40)]
    matrix[2] = list(range(100, 140))
    row = rows_of(matrix)[2]
    assert row["right"] == 102 and [pixels for _, pixels in row["wrong"]] == list(range(139, 139 - SINGLY, -1))
    assert row["right"] + sum(pixels for _, pixels in row["wrong"]) + row["others"] == sum(matrix[2])


def crowded(folder, objects=375):
    """A set of one image with that many objects of 4 x 4 pixels; its folder has the image."""
    (folder / "test").mkdir(parents=True)
    Image.new("RGB", (160, 160)).save(folder / "test/1.png")
    things = [thing(k + 1, 1, 7, (6 * (k % 25), 6 * (k // 25), 4, 4)) for k in range(objects)]
    image = {"id": 1, "file_name": "1.png", "height": 160, "width": 160}
    return {"categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}], "images": [image],
            "annotations": things}  # fmt: skip


def test_perfect_predictions_of_a_crowded_image_score_whole(tmp_path):
    """Neither the limits nor the metric, which in mmdet's form counts 100 detections, take a point."""
    content = crowded(tmp_path)
    assert limits_of(content, ["cat", "dog"]).detections >= 375
    assert perfect_score(build(tmp_path, content)) == (1.0, 1.0)


def test_average_precision_is_mmdets_where_that_counts_all(coco_folder):
    """Random predictions: mmdet's own metric, and each class alone by the same evaluation of its objects."""
    from mmdet.registry import METRICS

    dataset = build(coco_folder, good())
    rng, found = np.random.default_rng(1), {}
    for kind in ("CocoMetric", "CocoFolderMetric"):
        rng = np.random.default_rng(1)
        with DefaultScope.overwrite_default_scope("mmdet"):
            metric = METRICS.build(dict(type=kind, ann_file=str(coco_folder / "test.json"), metric=["bbox"]))
        metric.dataset_meta = dataset.metainfo
        for image in range(1, 5):
            corner, size = rng.integers(0, 30, (60, 2)), rng.integers(4, 18, (60, 2))
            boxes = torch.from_numpy(np.concatenate([corner, corner + size], axis=1)).double()
            instances = dict(bboxes=boxes, labels=torch.from_numpy(rng.integers(0, 2, 60)),
                             scores=torch.from_numpy(rng.random(60)))  # fmt: skip
            metric.process({}, [dict(img_id=image, ori_shape=(40, 48), pred_instances=instances)])
        found[kind] = metric.evaluate(size=4)
    assert found["CocoFolderMetric"] == found["CocoMetric"] and found["CocoMetric"]["coco/bbox_mAP"] > 0
    per_class = metric.details["per_class"]["box_AP"]
    assert len(per_class) == 2 and np.mean(per_class) == pytest.approx(
        100 * found["CocoMetric"]["coco/bbox_mAP"], abs=0.1
    )


def test_a_detector_that_finds_nothing_scores_nothing(coco_folder):
    dataset = build(coco_folder, good())
    from mmdet.datasets.api_wrappers import COCO

    truth = COCO(dataset.metainfo["ann_file"])
    precision = average_precision(truth, [], "bbox", truth.get_cat_ids(cat_names=["cat", "dog"]), 20)
    assert mean_known(precision[..., 0]) == 0


@pytest.mark.parametrize(
    ("most", "detections", "proposals"), [(1, 20, 50), (16, 20, 50), (17, 30, 75), (375, 470, 1175), (5000, 1000, 2500)]
)
def test_limits_by_the_fullest_training_image(most, detections, proposals):
    objects = [{"image_id": 1, "category_id": 1, "iscrowd": 0}] * most + [{"image_id": 2, "category_id": 1}]
    crowd = [{"image_id": 3, "category_id": 1, "iscrowd": 1}, {"image_id": 3, "category_id": 2}] * 9999
    content = {"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], "annotations": objects + crowd}
    found = limits_of(content, ["a"])
    assert (found.detections, found.proposals) == (detections, proposals)
    assert ("cannot be found" in str(found)) == (most > detections)
    if most == 5000:
        assert "4,000 of 5,001 objects are beyond" in str(found)


def test_limits_of_ones_own_data_reach_the_configuration(tmp_path):
    import json

    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.json").write_text(json.dumps(changed()))
    many = crowded(tmp_path)
    (tmp_path / "train.json").write_text(json.dumps(many))
    overlay = tmp_path / "mine.py"
    overlay.write_text(f"data = dict(name='mine', kind='coco', root='{tmp_path}', annotations='{{split}}.json',"
                       "images='{split}', size=(64, 64))\n")  # fmt: skip
    for config in ("mask_rcnn", "cascade_mask_rcnn"):
        model = load_config(f"det_configs/{config}.py", encoder="mae", data=str(overlay)).model
        assert (model.test_cfg.rcnn.max_per_img, model.test_cfg.rpn.max_per_img) == (470, 1175)
        assert model.train_cfg.rpn_proposal.nms_pre == model.test_cfg.rpn.nms_pre == 2350
    scenes = load_config("det_configs/mask_rcnn.py", encoder="mae").model
    assert (scenes.test_cfg.rcnn.max_per_img, scenes.test_cfg.rpn.max_per_img, scenes.test_cfg.rpn.nms_pre) == (
        20, 50, 100)  # fmt: skip
