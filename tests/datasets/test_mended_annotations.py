"""What becomes of a COCO file that is mended: turned images, long ones, the copy that is kept."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmengine.registry import DefaultScope
from PIL import Image

from benchmarks.fuzzing.perfect import perfect_score
from datasets.checked_annotations import usable_annotations
from engine.errors import UserError
from tests.datasets.coco_samples import CLASSES, SIZE, all_changed, build, good, thing


@pytest.mark.parametrize("orientation", [6, 8, 3])
def test_objects_follow_an_image_that_exif_turns(coco_folder, orientation):
    """Boxes drawn on the stored pixels, whose size the file states, end on the object that is shown; those drawn on the
    shown image, whose size the file then states, stay. Half a turn keeps the size, so the shown image is meant."""
    stored = np.zeros((*SIZE, 3), np.uint8)
    stored[4:12, 6:30] = 250
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(stored).save(coco_folder / "test/1.png", exif=tags.tobytes())
    content = good()
    content["images"] = content["images"][:1]
    content["annotations"] = [thing(1, 1, 7, (6, 4, 24, 8))]
    turned = Image.open(coco_folder / "test/1.png")
    rows, columns = np.nonzero(np.array(turned.transpose({6: 4, 8: 2, 3: 3}[orientation]))[..., 0])  # PIL's own names
    shown = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
    if orientation != 3:
        check_object(coco_folder, content, shown)
    content["annotations"] = [thing(1, 1, 7, shown)]
    if orientation != 3:
        content["images"][0].update(height=SIZE[1], width=SIZE[0])
    check_object(coco_folder, content, shown)


def check_object(coco_folder, content, shown):
    dataset = build(coco_folder, copy.deepcopy(content))
    sample = dataset[0]
    x, y, w, h = shown
    assert sample["gt_bboxes"].tensor.tolist() == [[x, y, x + w, y + h]]
    assert np.array_equal(sample["gt_masks"].to_ndarray()[0] > 0, sample["img"][..., 0] > 0), (
        "the mask covers the object"
    )
    assert perfect_score(dataset) == (1.0, 1.0)


def test_ids_with_a_point_are_whole_numbers(coco_folder):
    content = good()
    for part in ("categories", "images", "annotations"):
        for entry in content[part]:
            entry.update({key: float(entry[key]) for key in ("id", "category_id", "image_id") if key in entry})
    dataset = build(coco_folder, content)
    assert json.loads(Path(dataset.metainfo["ann_file"]).read_text()) == good() and perfect_score(dataset) == (1.0, 1.0)


def test_the_check_is_made_once_and_a_damaged_copy_is_made_again(coco_folder, monkeypatch):
    first = build(coco_folder, all_changed(lambda a, k: a.update(id=k))).metainfo["ann_file"]
    assert first != str(coco_folder / "test.json") and len(json.loads(Path(first).read_text())["annotations"]) == 12
    whole = Path(first).read_text()
    Path(first).write_text(whole[:-20])
    assert str(usable_annotations(coco_folder / "test.json", coco_folder / "test", list(CLASSES)).file) == first
    assert Path(first).read_text() == whole
    with monkeypatch.context() as patch:
        patch.setattr("datasets.checked_annotations.check_annotations", None)  # a second check would need it
        usable_annotations(coco_folder / "test.json", coco_folder / "test", list(CLASSES))
    Image.new("RGB", (9, 9)).save(coco_folder / "test/2.png")
    with pytest.raises(UserError, match="2.png is 9x9, the file says 48x40"):
        usable_annotations(coco_folder / "test.json", coco_folder / "test", list(CLASSES))


def test_a_good_file_is_read_itself(coco_folder):
    assert build(coco_folder, good()).metainfo["ann_file"] == str(coco_folder / "test.json")


def test_a_few_objects_without_a_mask_among_thousands_do_not_count(coco_folder):
    content = good()
    content["annotations"] = [thing(k + 1, k % 4 + 1, 7, (k % 20, k % 15, 8, 9)) for k in range(1500)]
    content["annotations"][7]["segmentation"] = [[1, 1, 2, 2]]
    read = json.loads(Path(build(coco_folder, content).metainfo["ann_file"]).read_text())
    assert [a["id"] for a in read["annotations"] if a["iscrowd"]] == [8]
    for k in (9, 10):
        content["annotations"][k]["segmentation"] = [[1, 1, 2, 2]]
    with pytest.raises(UserError, match="annotation 8: no polygon of three corners"):
        build(coco_folder, content)


@pytest.mark.parametrize("size", [(2, 512), (512, 2), (1, 1), (1, 300)])
def test_long_images_pass_both_pipelines(coco_folder, size):
    """mmcv's own resize makes a side of 0 of them, and OpenCV an error of that."""
    height, width = size
    Image.new("RGB", (width, height)).save(coco_folder / "test/1.png")
    content = good()
    content["images"] = [{"id": 1, "file_name": "1.png", "height": height, "width": width}]
    content["annotations"] = [thing(1, 1, 7, (0, 0, width, height))]
    dataset = build(coco_folder, content)
    for resize in (dict(type="RandomResize", scale=(64, 64), ratio_range=(0.75, 1.0), keep_ratio=True),
                   dict(type="Resize", scale=(64, 64), keep_ratio=True)):  # fmt: skip
        with DefaultScope.overwrite_default_scope("mmdet"):
            sample = TRANSFORMS.build(resize)(dataset[0])
        assert (
            min(sample["img"].shape[:2]) >= 1 and sample["gt_masks"].to_ndarray().shape[1:] == sample["img"].shape[:2]
        )
        assert sample["gt_bboxes"].tensor.isfinite().all()
    assert perfect_score(dataset) == (1.0, 1.0)
