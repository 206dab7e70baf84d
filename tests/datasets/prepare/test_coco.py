"""tools/prepare.py on COCO files: each fault found, real oddities let through, an overlay that mmdet trains on."""

import json
from functools import partial
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope
from pycocotools.coco import COCO

from datasets.detection import CocoFolder
from study.configure import load_config
from tests.datasets.prepare.samples import absolute, cut, manifest, photograph

CATEGORIES = [{"id": 3, "name": "cup"}, {"id": 7, "name": "plate"}]


def annotation(number: int, image: int, **changes) -> dict:
    """A square of 4 x 4 pixels."""
    square = {
        "id": number, "image_id": image, "category_id": 3 + 4 * (number % 2), "bbox": [2, 1, 4, 4], "area": 16,
        "segmentation": [[2, 1, 6, 1, 6, 5, 2, 5]], "iscrowd": 0,
    }  # fmt: skip
    return square | changes


def content(folder: Path, count: int, **changes) -> dict:
    """Images of 12 x 8 in `folder`, each with two objects."""
    images = [{"id": k, "file_name": f"{k}.jpg", "height": 8, "width": 12} for k in range(count)]
    for k in range(count):
        photograph(folder / f"{k}.jpg", seed=k)
    objects = [annotation(2 * k + j, k) for k in range(count) for j in range(2)]
    return {"images": images, "annotations": objects, "categories": CATEGORIES, **changes}


def write(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def mine(tmp_path) -> Path:
    for split, count in (("train", 3), ("val", 2)):
        write(tmp_path / f"mine/annotations/{split}.json", content(tmp_path / f"mine/images/{split}", count))
    return tmp_path / "mine"


def change(mine: Path, split: str, edit) -> None:
    path = mine / f"annotations/{split}.json"
    value = json.loads(path.read_text())
    edit(value)
    write(path, value)


def test_own_files_become_an_overlay_that_mmdet_reads(prepare, mine, tmp_path):
    screen = prepare("coco-format", mine)
    assert "3 images, 6 objects" in screen and "2: cup, plate" in screen and "PROBLEM" not in screen
    about = manifest(tmp_path / "data/mine")
    assert about["data"]["classes"] == ["cup", "plate"] and about["data"]["splits"]["test"] == "val"
    assert "annotations/train.json" in about["checksums"]
    dataset = load_config("det_configs/mask_rcnn_random.py", data=str(absolute(tmp_path / "data/mine")))
    dataset = dataset.train_dataloader.dataset.to_dict()
    with DefaultScope.overwrite_default_scope("mmdet"):
        found = CocoFolder(**{key: value for key, value in dataset.items() if key not in ("type", "pipeline")})
    assert len(found) == 3 and [len(found.get_data_info(k)["instances"]) for k in range(3)] == [2, 2, 2]
    assert "no file has changed" in prepare("coco-format", mine)


def test_images_that_the_file_names_by_their_whole_path(prepare, mine):
    def whole(value, split):
        for image in value["images"]:
            image["file_name"] = str(mine / "images" / split / image["file_name"])

    for split in ("train", "val"):
        change(mine, split, partial(whole, split=split))
    assert "PROBLEM" not in prepare("coco-format", mine)
    assert "no file has changed" in prepare("coco-format", mine)


def test_the_export_of_an_annotation_tool(prepare, tmp_path):
    for split in ("train", "valid"):
        folder = tmp_path / f"export/{split}"
        write(folder / "_annotations.coco.json", content(folder, 2))
    assert "PROBLEM" not in prepare("coco-format", tmp_path / "export")
    assert manifest(tmp_path / "data/export")["data"]["splits"] == {"train": "train", "val": "valid", "test": "valid"}


def test_other_names(prepare, mine, tmp_path):
    for split in ("train", "val"):
        (mine / f"annotations/{split}.json").rename(mine / f"boxes-{split}.json")
    assert "no images with labels for train" in prepare.refused("coco-format", mine)[1]
    words = ("--annotations", "boxes-{split}.json", "--images", "images/{split}")
    assert "PROBLEM" not in prepare("coco-format", mine, *words)


FAULTS = {
    "missing image": lambda value: value["images"][0].update(file_name="gone.jpg"),
    "image of another size than its file says": lambda value: value["images"][1].update(width=13),
    "image id given twice": lambda value: value["images"].append(value["images"][0]),
    "annotation of an unknown category": lambda value: value["annotations"][0].update(category_id=5),
    "annotation of an unknown image": lambda value: value["annotations"][0].update(image_id=99),
    "annotation given twice": lambda value: value["annotations"].append(value["annotations"][0]),
    "annotation that is not whole": lambda value: value["annotations"][2].pop("segmentation"),
    "broken box": lambda value: value["annotations"][0].update(bbox=[1, 2, 3]),
    "object without a whole mask": lambda value: value["annotations"][0].update(segmentation=[[1, 2, 3, 4]]),
    "category id given twice": lambda value: value["categories"].append({"id": 3, "name": "spoon"}),
    "annotation file that cannot be used": lambda value: value["annotations"].append(5),
    "split without an object": lambda value: value.update(annotations=[]),
}


@pytest.mark.parametrize("what", FAULTS)
def test_each_fault_is_a_problem(prepare, mine, what):
    change(mine, "train", FAULTS[what])
    screen, sentence = prepare.refused("coco-format", mine)
    assert f"PROBLEM     {what}: 1" in screen
    assert "cannot be trained on" in sentence


def test_unreadable_files(prepare, mine):
    cut(mine / "images/train/2.jpg")
    cut(mine / "annotations/val.json")
    screen, _ = prepare.refused("coco-format", mine)
    assert "unreadable or truncated image: 1" in screen and "images/train/2.jpg" in screen
    assert "annotation file that cannot be used: 1" in screen and "is it whole?" in screen


def test_another_order_of_categories(prepare, mine):
    change(mine, "val", lambda value: value["categories"].reverse())
    screen, _ = prepare.refused("coco-format", mine)
    assert "categories that differ between files: 1" in screen


def test_what_the_reader_leaves_out_is_noted_not_refused(prepare, mine, tmp_path):
    def edit(value):
        value["annotations"][0]["bbox"] = [50, 50, 4, 4]
        value["annotations"][1].update(bbox=[2, 1, 0.5, 4], segmentation=[[2, 1, 2.5, 1, 2.5, 5, 2, 5]])
        value["annotations"][2].update(bbox=[-4, 1, 8, 4], segmentation=[[-4, 1, 4, 1, 4, 5, -4, 5]])
        value["annotations"] = value["annotations"][:4]
        value["categories"].append({"id": 9, "name": "fork"})

    change(mine, "train", edit)
    change(mine, "val", lambda value: value["categories"].append({"id": 9, "name": "fork"}))
    screen = prepare("coco-format", mine)
    assert "note        box without area in its image, left out: 1" in screen
    assert "note        box thinner than a pixel, not learnt from: 1" in screen
    assert "note        box that reaches beyond its image: 1" in screen
    assert "note        class without an object: 2" in screen and "fork" in screen
    assert "images without any object: 1" in screen
    # mmdet itself leaves exactly these two out
    data = manifest(tmp_path / "data/mine")["data"]
    found = CocoFolder(
        data_root=str(tmp_path / "data/mine"), ann_file="annotations/train.json",
        data_prefix={"img": "images/train"}, metainfo={"classes": data["classes"]},
    )  # fmt: skip
    assert sum(len(found.get_data_info(k)["instances"]) for k in range(len(found))) == 2


def coco2017(root: Path, names: list[str]) -> Path:
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(names)]
    for split, count in (("train2017", 3), ("val2017", 2)):
        value = content(root / f"coco/{split}", count, categories=categories)
        write(root / f"coco/annotations/instances_{split}.json", value)
    return root / "coco"


def test_coco_2017(prepare, tmp_path):
    names = load_config("det_configs/mask_rcnn_mae.py", scale="paper").train_dataloader.dataset.metainfo.classes
    source = coco2017(tmp_path, list(names))
    screen, _ = prepare.refused("coco", source)
    assert "train2017 has 3 images, published are 118,287" in screen and "val2017 has 2 images" in screen
    screen = prepare("coco", source, "--allow-subset", "--out", "data/here")
    assert "80: person" in screen
    out = tmp_path / "data/here"
    assert (out / "train2017").is_symlink()
    cfg = load_config("det_configs/mask_rcnn_mae.py", scale="paper", data=str(absolute(out)))
    assert cfg.data.name == "here" and "--scale paper --amp --data data/here/overlay.py" in screen
    assert len(COCO(str(out / "annotations/instances_val2017.json")).getImgIds()) == 2
    _, sentence = prepare.refused("coco", source / "annotations", "--out", "data/none")
    assert "COCO's download page" in sentence and not (tmp_path / "data/none").exists()


def test_coco_with_other_categories(prepare, tmp_path):
    screen, _ = prepare.refused("coco", coco2017(tmp_path, ["cup", "plate"]), "--allow-subset")
    assert "categories that differ between files: 2" in screen and "has no category" in screen
