"""Own pictures through a finished run's model: the files are those of the run's test, and the drawings show them."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image, ImageOps

from engine.errors import UserError
from engine.panels import paint_classes, paint_depth
from study.drawing import OPACITY, draw_classes, draw_depth, draw_detections
from study.predict import predict

PALETTE = [[200, 0, 0], [0, 200, 0], [0, 0, 200]]


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.mark.parametrize("task", ["upernet", "depth"])
def test_test_images_give_the_maps_of_the_test(task, finished, in_child, scenes_root, tmp_path):
    assert in_child(predict, finished(task), scenes_root / "images/test", tmp_path / "out") == 0
    found, wanted = tree(tmp_path / "out"), tree(finished(task) / "predictions")
    assert len(wanted) == 8 and {*found} == {*wanted, *(f"drawn/{name}" for name in wanted)}
    for name in wanted:  # one by one is not a batch of eight, to the last bit
        pictures = (cv2.imread(str(top / name), cv2.IMREAD_UNCHANGED).astype(int) for top in
                    (tmp_path / "out", finished(task) / "predictions"))  # fmt: skip
        apart = np.abs(np.subtract(*pictures))
        assert (apart > 1).mean() < 1e-3
    index = json.loads((tmp_path / "out/index.json").read_text())
    assert [entry["image"] for entry in index["images"]] == sorted(wanted)


def test_pictures_of_all_sizes_and_orientations(finished, in_child, scenes_root, tmp_path):
    """A picture that EXIF turns and one that is stored as it is shown are the same picture."""
    source, photos = scenes_root / "images/test", tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    with Image.open(sorted(source.iterdir())[0]) as picture:
        shown = picture.resize((90, 50))
    shown.save(photos / "shown.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    shown.rotate(90, expand=True).save(photos / "deep/turned.png", exif=turned)
    with Image.open(photos / "deep/turned.png") as again:
        assert again.size == (50, 90) and np.array_equal(np.asarray(ImageOps.exif_transpose(again)), np.asarray(shown))
    (photos / "notes.txt").write_text("no picture")
    assert in_child(predict, finished("mask_rcnn"), photos, tmp_path / "out", 0.2) == 0
    found = json.loads((tmp_path / "out/detections.json").read_text())
    index = json.loads((tmp_path / "out/index.json").read_text())
    assert [(i["id"], i["file_name"], i["height"], i["width"]) for i in index["images"]] == [
        (1, "deep/turned.png", 50, 90), (2, "shown.png", 50, 90),
    ]  # fmt: skip
    first, second = ([{**one, "image_id": 0} for one in found if one["image_id"] == k] for k in (1, 2))
    assert first == second != []
    assert {*tree(tmp_path / "out")} == {"drawn/deep/turned.png", "drawn/shown.png"}


def test_refusals(finished, scenes_root, tmp_path):
    run, source = finished("upernet"), scenes_root / "images/test"
    photos = tmp_path / "photos"
    photos.mkdir()
    with pytest.raises(UserError, match="photos holds no picture"):
        predict(run, photos, tmp_path / "out")
    with pytest.raises(UserError, match="there is no picture or folder nowhere"):
        predict(run, "nowhere", tmp_path / "out")
    for name in ("a.png", "a.jpg"):
        shutil.copy(sorted(source.iterdir())[0], photos / name)
    with pytest.raises(UserError, match="would have one name without their endings"):
        predict(run, photos, tmp_path / "out")
    with pytest.raises(UserError, match="photos is not an empty folder"):
        predict(run, photos / "a.png", photos)


def test_classes_lie_over_the_picture_with_a_legend_of_those_that_occur():
    image, labels = np.full((480, 500, 3), 100, np.uint8), np.zeros((480, 500), np.uint8)
    labels[:, 400:] = 2
    drawn = draw_classes(image, labels, ["wall", "door", "lamp"], PALETTE)
    wanted = (OPACITY * paint_classes(labels, PALETTE) + (1 - OPACITY) * image).round()
    assert np.array_equal(drawn[:, :500], wanted) and drawn.shape[0] == 480
    legend = drawn[:, 500:].reshape(-1, 3).tolist()
    assert PALETTE[0] in legend and PALETTE[2] in legend and PALETTE[1] not in legend


def test_boxes_above_the_threshold_are_drawn_in_their_colours():
    found = InstanceData(bboxes=torch.tensor([[100.0, 100, 300, 300], [10, 10, 60, 60]]), labels=torch.tensor([1, 0]),
                         scores=torch.tensor([0.9, 0.2]), masks=torch.zeros(2, 480, 480, dtype=torch.bool))  # fmt: skip
    found.masks[0, 150:250, 150:250] = True
    image = np.zeros((480, 480, 3), np.uint8)
    drawn = draw_detections(image, found, ["cat", "dog"], PALETTE, 0.3)
    assert drawn[200, 100].tolist() == drawn[300, 200].tolist() == PALETTE[1], "the box"
    assert drawn[200, 200].tolist() == [0, round(OPACITY * 200), 0], "the mask"
    assert not drawn[:80, :80].any(), "below the threshold"
    assert (drawn[480:] != 255).any(), "the threshold stands below"
    weaker = draw_detections(image, found, ["cat", "dog"], PALETTE, 0.1)
    assert weaker[30, 10].tolist() == PALETTE[0]


def test_depth_has_a_bar():
    depth = np.linspace(0.1, 10, 480)[None].repeat(480, 0)
    drawn = draw_depth(np.zeros((480, 480, 3), np.uint8), depth, 10.0)
    top = (drawn.shape[0] - 480) // 2
    assert np.array_equal(drawn[top : top + 480, 488:968], paint_depth(depth, 10.0))
    bar = drawn[top : top + 480, 980].astype(int)
    assert bar[0].sum() > bar[-1].sum() and (np.diff(bar @ [0.299, 0.587, 0.114]) <= 1).all(), "near is bright"
    assert (drawn[:, 1010:] != 255).any(), "metres stand beside it"
