"""COCO-format data: every fault is one line that names the file and the thing; what is right is read as it stands."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope
from PIL import Image

import datasets.detection  # noqa: F401
from engine.errors import UserError
from study.configure import load_config

CLASSES = ("cat", "dog")


def annotation(number, image, category, box):
    x, y, w, h = box
    polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(box), "area": w * h, "iscrowd": 0,
            "segmentation": polygon}  # fmt: skip


GOOD = {
    "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],  # not in the order of their ids
    "images": [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in (1, 2)],
    "annotations": [annotation(10, 1, 7, (2, 3, 8, 9)), annotation(11, 1, 3, (12, 4, 6, 5)),
                    annotation(12, 2, 3, (0, 0, 20, 15))],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train").mkdir()
    for i in (1, 2):
        picture = np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"train/{i}.png")
    write(tmp_path, GOOD)
    return tmp_path


def write(folder: Path, content) -> Path:
    path = folder / "train.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def build(folder, classes=CLASSES):
    pipeline = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True}]
    cfg = {"type": "CocoFolder", "data_root": str(folder), "ann_file": "train.json", "data_prefix": {"img": "train"},
           "metainfo": {"classes": classes}, "pipeline": pipeline}  # fmt: skip
    with DefaultScope.overwrite_default_scope("mmdet"):
        return DATASETS.build(cfg)


def refusal(call) -> str:
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_boxes_masks_and_labels_as_in_the_file(folder):
    dataset = build(folder)
    assert len(dataset) == 2
    sample = dataset[0]
    assert sample["gt_bboxes_labels"].tolist() == [0, 1], "a class's number is its place in classes"
    assert sample["gt_bboxes"].numpy().tolist() == [[2, 3, 10, 12], [12, 4, 18, 9]]
    masks = sample["gt_masks"].to_ndarray()
    for mask, (x, y, w, h) in zip(masks, ((2, 3, 8, 9), (12, 4, 6, 5)), strict=True):
        expected = np.zeros((20, 30), bool)
        expected[y : y + h, x : x + w] = True
        assert np.array_equal(mask.astype(bool), expected)


def test_the_embedded_scenes_pass(configure, scenes_root):
    dataset = configure("det_configs/mask_rcnn_random.py", 1).train_dataloader.dataset
    dataset.pipeline = []
    with DefaultScope.overwrite_default_scope("mmdet"):
        found = DATASETS.build(dataset)
    content = json.loads((scenes_root / "coco/instances_train.json").read_text())
    with_objects = {a["image_id"] for a in content["annotations"]}
    assert [sample["img_id"] for sample in found] == sorted(with_objects)


def test_a_subset_of_the_categories(folder):
    dataset = build(folder, ("dog",))
    assert [sample["gt_bboxes_labels"].tolist() for sample in dataset] == [[0], [0]]


def test_missing_file(folder):
    (folder / "train.json").unlink()
    said = refusal(lambda: build(folder))
    assert f"there is no annotation file {folder}/train.json" in said and "check root and annotations" in said


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(GOOD)[:200],
        "",
        "[]",
        "null",
        "{}",
        json.dumps({**GOOD, "annotations": None}),
        json.dumps({k: v for k, v in GOOD.items() if k != "images"}),
        json.dumps({**GOOD, "images": [{"id": 1, "file_name": "1.png"}]}),
        json.dumps({**GOOD, "categories": ["cat", "dog"]}),
    ],
)
def test_truncated_or_other_json(folder, content):
    path = write(folder, content)
    said = refusal(lambda: build(folder))
    assert f"{path} is not a COCO annotation file" in said and "is it whole?" in said


def test_bytes_that_are_no_text(folder):
    (folder / "train.json").write_bytes(b"\x89PNG\xff\xfe")
    assert "is not a COCO annotation file" in refusal(lambda: build(folder))


def test_missing_category(folder):
    said = refusal(lambda: build(folder, ("cat", "horse")))
    assert f"{folder}/train.json has no category ['horse']; it has ['cat', 'dog']" in said and "classes" in said


def test_categories_in_another_order(folder):
    """mmdet numbers classes by the file's order: two files in two orders would be scored against each other."""
    said = refusal(lambda: build(folder, ("dog", "cat")))
    assert "in the order ['cat', 'dog'], but the classes are ['dog', 'cat']" in said and "state classes" in said


def test_missing_image(folder):
    (folder / "train/2.png").unlink()
    said = refusal(lambda: build(folder))
    assert f"1 of 2 images of {folder}/train.json are not in {folder}/train, first 2.png" in said


def changed(**changes):
    content = copy.deepcopy(GOOD)
    content["annotations"][1].update(changes)
    return content


def test_category_id_that_nobody_declared(folder):
    write(folder, changed(category_id=99))
    said = refusal(lambda: build(folder))
    assert "annotation 11 has category id 99, known are 3, 7" in said and "correct it" in said


def test_annotation_of_an_unknown_image(folder):
    write(folder, changed(image_id=5))
    assert "annotation 11 is of image id 5, which the file does not list" in refusal(lambda: build(folder))


def test_annotation_given_twice(folder):
    write(folder, changed(id=10))
    assert "annotation 10 occurs twice" in refusal(lambda: build(folder))


@pytest.mark.parametrize("key", ["bbox", "segmentation", "category_id", "image_id", "id"])
def test_annotation_that_is_not_whole(folder, key):
    content = changed()
    del content["annotations"][1][key]
    write(folder, content)
    said = refusal(lambda: build(folder))
    assert f"annotation {'number 1' if key == 'id' else 11} has no {key}: complete or remove it" in said


def test_annotation_without_a_mask(folder):
    write(folder, changed(segmentation=[]))
    assert "annotation 11 has no segmentation" in refusal(lambda: build(folder))


def test_classes_of_the_file_where_the_section_names_none(folder):
    """The names come in the order that mmdet gives them numbers in, not in that of the ids."""
    overlay = folder / "mine.py"
    data = {"name": "mine", "kind": "coco", "root": str(folder), "annotations": "{split}.json", "images": "{split}",
            "size": (20, 30), "splits": {"train": "train", "val": "train", "test": "train"}}  # fmt: skip
    overlay.write_text(f"data = {data!r}\n")
    cfg = load_config("det_configs/mask_rcnn_mae.py", data=str(overlay))
    assert cfg.train_dataloader.dataset.metainfo.classes == ["cat", "dog"]
    assert cfg.model.roi_head.bbox_head.num_classes == 2
    write(folder, "{")
    said = refusal(lambda: load_config("det_configs/mask_rcnn_mae.py", data=str(overlay)))
    assert "is not a COCO annotation file" in said
