"""Masks stay on what they mask when a picture is squared, and instances of a category are one mask."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from analysis.pictures import coverage, load_pictures
from engine.errors import UserError
from tools.analyse import parse_arguments


def test_masks_follow_the_picture(tmp_path):
    """A picture of 48 x 80 at 24 pixels: two bright boxes of one category, and one that the cut leaves out."""
    image = np.zeros((48, 80, 3), np.uint8)
    boxes = [(20, 4, 16, 12), (44, 30, 12, 10), (0, 0, 8, 8)]  # left, top, width, height
    annotations = []
    for k, (left, top, width, height) in enumerate(boxes):
        image[top : top + height, left : left + width] = 255
        corners = [left, top, left + width, top, left + width, top + height, left, top + height]
        annotations.append({"id": k + 1, "image_id": 7, "category_id": 1 + (k == 2), "iscrowd": 0,
                            "bbox": [left, top, width, height], "area": 1, "segmentation": [corners]})  # fmt: skip
    cv2.imwrite(str(tmp_path / "a.png"), image)
    listed = {"images": [{"id": 7, "file_name": "a.png", "height": 48, "width": 80}], "annotations": annotations,
              "categories": [{"id": 1, "name": "box"}, {"id": 2, "name": "gone"}]}  # fmt: skip
    (tmp_path / "masks.json").write_text(json.dumps(listed))
    (picture,) = load_pictures(tmp_path, 5, 24, tmp_path / "masks.json")
    assert picture.pixels.shape == (3, 24, 24) and list(picture.masks) == ["box"]
    bright = picture.pixels[0] > 127
    assert (bright != picture.masks["box"]).float().mean() < 0.03 and bright.float().mean() > 0.1


def changed(pictures, tmp_path, change):
    """The COCO file of the pictures after `change`."""
    listed = json.loads(Path(pictures[1]).read_text())
    change(listed)
    (tmp_path / "masks.json").write_text(json.dumps(listed))
    return tmp_path / "masks.json"


@pytest.mark.parametrize("change, message", [
    (lambda d: d["images"].append({**d["images"][1], "id": 99}), "lists the image 1.png more than once: check --masks"),
    (lambda d: d["annotations"][2].update(category_id=9), r"annotation 3 of 1.png is damaged .KeyError.9"),
    (lambda d: d["annotations"][2].pop("segmentation"), r"annotation 3 of 1.png is damaged .KeyError.'segmentation'"),
    (lambda d: d["annotations"][2].update(segmentation=7), "annotation 3 of 1.png is damaged"),
    (lambda d: d["images"][3].update(height=48), r"3.png has 32 x 32 pixels, its mask in .* 32 x 48: check --masks"),
])  # fmt: skip
def test_masks_that_cannot_be_used(pictures, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        load_pictures(pictures[0], 5, 32, changed(pictures, tmp_path, change))


def test_coverage_by_hand():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:3, 1] = True
    assert coverage(mask, (2, 2)).tolist() == [[0.5, 0], [0.25, 0]]


@pytest.mark.parametrize("count", ["0", "-3", "many", "1.5"])
def test_numbers_that_are_none(count, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["tsne", "--checkpoint", "x", "--count", count])
    assert "whole number from 1 on" in capsys.readouterr().err
