"""COCO files as people have them: mended by rule or refused; perfect predictions score 100 on all that is accepted."""

import contextlib
import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, METRICS, TRANSFORMS
from mmengine.registry import DefaultScope
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import datasets.segmentation  # noqa: F401
from datasets.detection import usable_annotations
from engine.errors import UserError

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


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    (root / "test").mkdir(parents=True)
    for k in range(1, 5):
        Image.new("RGB", SIZE[::-1], (40 * k, 0, 0)).save(root / f"test/{k}.png")
    return root


def build(folder, content, classes=CLASSES):
    (folder / "test.json").write_text(content if isinstance(content, str) else json.dumps(content))
    pipeline = [dict(type="LoadImageStrict"), dict(type="LoadAnnotations", with_bbox=True, with_mask=True)]
    cfg = dict(type="CocoFolder", data_root=str(folder), ann_file="test.json", data_prefix=dict(img="test"),
               metainfo=dict(classes=classes), pipeline=pipeline, test_mode=True)  # fmt: skip
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        return DATASETS.build(cfg)


def score(dataset, ann_file):
    """AP of boxes and masks of perfect predictions: what pycocotools itself decodes from the file that is evaluated."""
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        metric = METRICS.build(dict(type="CocoFolderMetric", ann_file=str(ann_file), metric=["bbox", "segm"]))
        metric.dataset_meta = dataset.metainfo
        truth = COCO(dataset.metainfo["ann_file"])
        labels = {i: k for k, name in enumerate(CLASSES) for i in truth.getCatIds(catNms=[name])}
        for image in truth.imgs.values():
            found = [truth.anns[i] for i in truth.getAnnIds(imgIds=[image["id"]])]
            boxes = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in found)]
            masks = [truth.annToMask(a) for a in found]
            prediction = dict(
                bboxes=torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
                labels=torch.tensor([labels[a["category_id"]] for a in found], dtype=torch.long),
                scores=torch.ones(len(found)),
                masks=torch.from_numpy(np.array(masks, bool).reshape(-1, image["height"], image["width"])),
            )
            size = (image["height"], image["width"])
            metric.process({}, [dict(img_id=image["id"], ori_shape=size, pred_instances=prediction)])
        found = metric.evaluate(size=len(truth.imgs))
    return found["coco/bbox_mAP"], found["coco/segm_mAP"]


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


POLYGON, RUNS = (good()["annotations"][k]["segmentation"] for k in (0, 4))
ACCEPTED = {
    "as it should be": good(),
    "ids from 0": all_changed(lambda a, k: a.update(id=k)),
    "ids that are words": all_changed(lambda a, k: a.update(id=f"a{k}")),
    "no iscrowd": all_changed(lambda a, k: a.pop("iscrowd")),
    "iscrowd as a truth value": all_changed(lambda a, k: a.update(iscrowd=False)),
    "a two-point polygon beside a whole one": changed(segmentation=[[5, 5, 6, 6], *POLYGON]),
    "an empty polygon beside a whole one": changed(segmentation=[[], *POLYGON]),
    "words in a polygon beside a whole one": changed(segmentation=[[1, 1, "a", 2, 3, 4], *POLYGON]),
    "no area": all_changed(lambda a, k: a.pop("area")),
    "area of 0": changed(area=0),
    "area beyond all": changed(area=1e12),
    "area that is no number": changed(area="12"),
    "a box without area": changed(bbox=[5, 5, 0, 4]),
    "a box outside": changed(bbox=[100, 100, 5, 5]),
    "a crowd": changed(iscrowd=1),
    "an ignored object": changed(ignore=1),
    "a mask without a pixel": changed(bbox=[3, 3, 0.2, 0.2], segmentation=[[3, 3, 3.2, 3, 3.2, 3.2]]),
    "image ids that are words": {
        **all_changed(lambda a, k: a.update(image_id=f"i{a['image_id']}")),
        "images": [{**image, "id": f"i{image['id']}"} for image in good()["images"]],
    },
    "a category never used": {**good(), "categories": [*good()["categories"], {"id": 9, "name": "cow"}]},
    "category ids that are words": {
        **all_changed(lambda a, k: a.update(category_id=str(a["category_id"]))),
        "categories": [{"id": "7", "name": "cat"}, {"id": "3", "name": "dog"}],
    },
    "keys that nobody knows": {**good(), "info": None, "extra": [1]},
}  # fmt: skip
REFUSED = {
    "boxes as corners": (
        all_changed(lambda a, k: a.update(bbox=[*a["bbox"][:2], *np.add(a["bbox"][:2], a["bbox"][2:]).tolist()])),
        "read as [x1, y1, x2, y2], 12 of 12 boxes lie around their masks",
    ),
    "boxes by their centres": (
        all_changed(lambda a, k: a.update(bbox=[*np.add(a["bbox"][:2], np.divide(a["bbox"][2:], 2)), *a["bbox"][2:]])),
        "read as [centre x, centre y, width, height], 12 of 12",
    ),
    "boxes between 0 and 1": (
        all_changed(lambda a, k: a.update(bbox=[v / 48 for v in a["bbox"]])), "boxes do not lie around their masks",
    ),
    "no object": ({**good(), "annotations": []}, "no object that counts"),
    "crowds alone": (all_changed(lambda a, k: a.update(iscrowd=1)), "no object that counts"),
    "a run-length string cut short": (
        changed(4, segmentation={"size": list(SIZE), "counts": RUNS["counts"][:-3]}),
        "annotation 5: ",
    ),
    "run lengths of another size": (
        changed(4, segmentation={"size": [9, 9], "counts": [81]}), "a run-length mask of [9, 9] for an image of",
    ),
    "no polygon": (changed(segmentation=[[]]), "annotation 1: no polygon of three corners"),
    "words in its only polygon": (changed(segmentation=[[1, 1, "a", 2, 3, 4]]), "annotation 1: no polygon"),
    "a flat list of numbers": (changed(segmentation=POLYGON[0]), "annotation 1: no polygon"),
    "a box of three": (changed(bbox=[1, 2, 3]), "annotation 1 has the box [1, 2, 3]: give"),
    "a box of words": (changed(bbox=["1", 2, 3, 4]), "annotation 1 has the box"),
    "a box of NaN": (changed(bbox=[1, 2, float("nan"), 4]), "annotation 1 has the box"),
    "an image id of another type": (changed(image_id="1"), "annotation 1 is of image id '1', which the file does not"),
    "an image id that is a list": (changed(image_id=[1]), "annotation 1 is of image id [1], which the file does not"),
    "an iscrowd of 2": (changed(iscrowd=2), "annotation 1 has 2"),
    "an annotation id twice": (changed(id=2), "annotation 2 occurs twice"),
    "an image id twice": ({**good(), "images": [{**i, "id": 1} for i in good()["images"]]}, "image id 1 stands there"),
    "a file listed twice": (
        {**good(), "images": [{**i, "file_name": "1.png"} for i in good()["images"]]}, "'1.png' stands there 4 times",
    ),
    "a category twice": (
        {**good(), "categories": [*good()["categories"], {"id": 8, "name": "x"}, {"id": 8, "name": "y"}]},
        "category id 8 stands there 2 times",
    ),
    "an image of another size": (
        {**good(), "images": [{**i, "height": 41} for i in good()["images"]]}, "1.png is 48x40, the file says 48x41",
    ),
    "an image of no size": (
        {**good(), "images": [{**i, "height": "40"} for i in good()["images"]]}, "image 1.png has the height and width",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_perfect_predictions_score_100(folder, name):
    dataset = build(folder, copy.deepcopy(ACCEPTED[name]))
    assert score(dataset, folder / "test.json") == (1.0, 1.0)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scored_is_refused_before_training(folder, name):
    content, sentence = REFUSED[name]
    with pytest.raises(UserError) as error:
        build(folder, copy.deepcopy(content))
    assert sentence in str(error.value) and "\n" not in str(error.value)


WEIRD = (None, [], [[]], {}, "x", "", -1, 0, 1.5, 1e12, float("nan"), True, [1, 2], {"size": [40, 48]}, RUNS, 2**70)


def mutant(rng):
    """A file with one to three places changed: keys dropped, values exchanged, lists cut, numbers moved."""
    content = good()
    for _ in range(rng.integers(1, 4)):
        entries = content[rng.choice(["annotations", "annotations", "annotations", "images", "categories"])]
        entry = entries[rng.integers(len(entries))]
        if not entry:
            continue
        key = rng.choice(sorted(entry))
        kind = rng.integers(6)
        if kind == 0:
            del entry[key]
        elif kind == 1:
            entry[key] = copy.deepcopy(WEIRD[rng.integers(len(WEIRD))])
        elif kind == 2:
            entry[key] = copy.deepcopy(entries[rng.integers(len(entries))].get(key))
        elif kind == 3 and isinstance(entry[key], list) and entry[key]:
            entry[key].pop(rng.integers(len(entry[key])))
        elif kind == 4 and isinstance(entry[key], list) and entry[key] and isinstance(entry[key][0], list | dict):
            inner = entry[key][0]
            if isinstance(inner, list) and inner:
                inner[rng.integers(len(inner))] = WEIRD[rng.integers(len(WEIRD))]
        elif isinstance(entry[key], int | float):
            entry[key] = entry[key] * float(rng.choice([-1, 0, 0.001, 3, 1e6]))
    return content


@pytest.mark.parametrize("seed", range(60))
def test_a_changed_file_is_scored_right_or_refused(folder, seed):
    try:
        dataset = build(folder, mutant(np.random.default_rng(seed)))
    except UserError as error:
        assert "\n" not in str(error)
        return
    for image in range(len(dataset)):  # the trainer's reader takes it too
        dataset[image]
    assert score(dataset, folder / "test.json") == (1.0, 1.0)


def test_about_half_of_the_changed_files_are_accepted(folder):
    """So that the test above says something of both."""
    refused = 0
    for seed in range(60):
        try:
            build(folder, mutant(np.random.default_rng(seed)))
        except UserError:
            refused += 1
    assert 15 < refused < 50


@pytest.mark.parametrize("orientation", [6, 8, 3])
def test_objects_follow_an_image_that_exif_turns(folder, orientation):
    """Boxes drawn on the stored pixels, whose size the file states, end on the object that is shown; those drawn on the
    shown image, whose size the file then states, stay. Half a turn keeps the size, so the shown image is meant."""
    stored = np.zeros((*SIZE, 3), np.uint8)
    stored[4:12, 6:30] = 250
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(stored).save(folder / "test/1.png", exif=tags.tobytes())
    content = good()
    content["images"] = content["images"][:1]
    content["annotations"] = [thing(1, 1, 7, (6, 4, 24, 8))]
    turned = Image.open(folder / "test/1.png")
    rows, columns = np.nonzero(np.array(turned.transpose({6: 4, 8: 2, 3: 3}[orientation]))[..., 0])  # PIL's own names
    shown = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
    if orientation != 3:
        check_object(folder, content, shown)
    content["annotations"] = [thing(1, 1, 7, shown)]
    if orientation != 3:
        content["images"][0].update(height=SIZE[1], width=SIZE[0])
    check_object(folder, content, shown)


def check_object(folder, content, shown):
    dataset = build(folder, copy.deepcopy(content))
    sample = dataset[0]
    x, y, w, h = shown
    assert sample["gt_bboxes"].tensor.tolist() == [[x, y, x + w, y + h]]
    assert np.array_equal(sample["gt_masks"].to_ndarray()[0] > 0, sample["img"][..., 0] > 0), (
        "the mask covers the object"
    )
    assert score(dataset, folder / "test.json") == (1.0, 1.0)


def test_the_check_is_made_once_and_a_damaged_copy_is_made_again(folder, monkeypatch):
    first = build(folder, all_changed(lambda a, k: a.update(id=k))).metainfo["ann_file"]
    assert first != str(folder / "test.json") and len(json.loads(Path(first).read_text())["annotations"]) == 12
    whole = Path(first).read_text()
    Path(first).write_text(whole[:-20])
    assert str(usable_annotations(folder / "test.json", folder / "test", list(CLASSES))) == first
    assert Path(first).read_text() == whole
    with monkeypatch.context() as patch:
        patch.setattr("datasets.detection.check_annotations", None)  # a second check would need it
        usable_annotations(folder / "test.json", folder / "test", list(CLASSES))
    Image.new("RGB", (9, 9)).save(folder / "test/2.png")
    with pytest.raises(UserError, match="2.png is 9x9, the file says 48x40"):
        usable_annotations(folder / "test.json", folder / "test", list(CLASSES))


def test_a_good_file_is_read_itself(folder):
    assert build(folder, good()).metainfo["ann_file"] == str(folder / "test.json")


def test_a_few_objects_without_a_mask_among_thousands_do_not_count(folder):
    content = good()
    content["annotations"] = [thing(k + 1, k % 4 + 1, 7, (k % 20, k % 15, 8, 9)) for k in range(1500)]
    content["annotations"][7]["segmentation"] = [[1, 1, 2, 2]]
    read = json.loads(Path(build(folder, content).metainfo["ann_file"]).read_text())
    assert [a["id"] for a in read["annotations"] if a["iscrowd"]] == [8]
    for k in (9, 10):
        content["annotations"][k]["segmentation"] = [[1, 1, 2, 2]]
    with pytest.raises(UserError, match="annotation 8: no polygon of three corners"):
        build(folder, content)


@pytest.mark.parametrize("size", [(2, 512), (512, 2), (1, 1), (1, 300)])
def test_long_images_pass_both_pipelines(folder, size):
    """mmcv's own resize makes a side of 0 of them, and OpenCV an error of that."""
    height, width = size
    Image.new("RGB", (width, height)).save(folder / "test/1.png")
    content = good()
    content["images"] = [{"id": 1, "file_name": "1.png", "height": height, "width": width}]
    content["annotations"] = [thing(1, 1, 7, (0, 0, width, height))]
    dataset = build(folder, content)
    for resize in (dict(type="RandomResize", scale=(64, 64), ratio_range=(0.75, 1.0), keep_ratio=True),
                   dict(type="Resize", scale=(64, 64), keep_ratio=True)):  # fmt: skip
        with DefaultScope.overwrite_default_scope("mmdet"):
            sample = TRANSFORMS.build(resize)(dataset[0])
        assert (
            min(sample["img"].shape[:2]) >= 1 and sample["gt_masks"].to_ndarray().shape[1:] == sample["img"].shape[:2]
        )
        assert sample["gt_bboxes"].tensor.isfinite().all()
    assert score(dataset, folder / "test.json") == (1.0, 1.0)
