"""Small COCO sets, which the tests of annotation files share."""

import contextlib
import io
import json

import numpy as np
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_mask

import datasets.detection  # noqa: F401
import datasets.segmentation  # noqa: F401

SIZE = (40, 48)
CLASSES = ("cat", "dog")


def thing(number, image, category, box):
    x, y, w, h = box
    polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(box), "area": w * h, "iscrowd": 0,
            "segmentation": polygon}  # fmt: skip


def good():
    """Four images of three objects each."""
    rng = np.random.default_rng(3)
    images = [{"id": k, "file_name": f"{k}.png", "height": SIZE[0], "width": SIZE[1]} for k in range(1, 5)]
    objects = []
    for k in range(12):
        x, y, w, h = (int(v) for v in rng.integers((0, 0, 6, 6), (30, 22, 17, 17)))
        objects.append(thing(k + 1, k // 3 + 1, (7, 3)[k % 2], (x, y, w, h)))
    pixels = np.zeros(SIZE, np.uint8)
    pixels[5:20, 6:30] = 1
    runs = coco_mask.encode(np.asfortranarray(pixels))
    objects[4].update(bbox=[6, 5, 24, 15], segmentation={"size": list(SIZE), "counts": runs["counts"].decode()})
    return {
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "images": images,
        "annotations": objects,
    }


def build(folder, content, classes=CLASSES):
    (folder / "test.json").write_text(content if isinstance(content, str) else json.dumps(content))
    pipeline = [dict(type="LoadImageStrict"), dict(type="LoadAnnotations", with_bbox=True, with_mask=True)]
    cfg = dict(type="CocoFolder", data_root=str(folder), ann_file="test.json", data_prefix=dict(img="test"),
               metainfo=dict(classes=classes), pipeline=pipeline, test_mode=True)  # fmt: skip
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        return DATASETS.build(cfg)


def changed(place=0, drop=(), **changes):
    content = good()
    content["annotations"][place].update(changes)
    for key in drop:
        del content["annotations"][place][key]
    return content


def all_changed(change):
    content = good()
    for place, annotation in enumerate(content["annotations"]):
        change(annotation, place)
    return content
