"""tools/prepare.py on images with label maps: what is linked, what is found, what a second run does."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

from engine.files import sha256
from study.configure import load_config
from tests.datasets.prepare.samples import absolute, cut, manifest, photograph, save

SPLITS = {"train": 4, "val": 2, "test": 2}


def label(path: Path, ids, height: int = 8, width: int = 12) -> Path:
    """A label map that holds exactly `ids`."""
    return save(path, np.resize(np.array(ids, np.uint8), (height, width)))


@pytest.fixture
def mine(tmp_path) -> Path:
    """images/ and labels/ with ids 0..2 and 7, which is void."""
    for split, count in SPLITS.items():
        for k in range(count):
            photograph(tmp_path / f"mine/images/{split}/{k}.jpg", seed=k)
            label(tmp_path / f"mine/labels/{split}/{k}.png", [0, 1, 2, 7])
    return tmp_path / "mine"


def train_set(overlay: Path):
    """The training set that tools/train.py would read through an overlay."""
    dataset = load_config("seg_configs/upernet_random.py", data=str(overlay)).train_dataloader.dataset
    with DefaultScope.overwrite_default_scope("mmseg"):
        return DATASETS.build({**dataset.to_dict(), "pipeline": [{"type": "LoadImageStrict"}, {"type": "LoadLabels"}]})


def test_own_folders_become_an_overlay_that_trains(prepare, mine, tmp_path):
    (tmp_path / "names.txt").write_text("floor\nwall\nball\n")
    screen = prepare("mmseg-folder", mine, "--classes", tmp_path / "names.txt", "--ignore", 7)
    assert "4 images with labels" in screen and "all 12 x 8" in screen and "PROBLEM" not in screen
    assert len(screen.splitlines()) < 24
    out = tmp_path / "data/mine"
    assert (out / "images/train").is_symlink() and (out / "annotations/val").resolve() == mine / "labels/val"
    about = manifest(out)
    assert {split: found["images with labels"] for split, found in about["counts"].items()} == SPLITS
    assert about["data"]["classes"] == ["floor", "wall", "ball"] and about["subset"] is False
    for name, digest in about["checksums"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    dataset = train_set(absolute(out))
    assert len(dataset) == 4 and dataset.metainfo["classes"] == ["floor", "wall", "ball"]
    assert set(np.unique(dataset[0]["gt_seg_map"])) == {0, 1, 2, 255}


def test_a_second_run_finds_the_work_done_until_a_file_changes(prepare, mine, tmp_path):
    first = prepare("mmseg-folder", mine)
    before = sha256(tmp_path / "data/mine/prepared.json")
    again = prepare("mmseg-folder", mine)
    assert "no file has changed" in again and first.splitlines()[1:] == again.splitlines()[1:-1]
    assert sha256(tmp_path / "data/mine/prepared.json") == before
    label(mine / "labels/train/0.png", [0, 9])
    third = prepare("mmseg-folder", mine)
    assert "no file has changed" not in third and "10 classes" in third


def test_other_arguments_are_not_taken_for_the_same_work(prepare, mine):
    assert "8 classes" in prepare("mmseg-folder", mine)
    assert "3 classes" in prepare("mmseg-folder", mine, "--ignore", 7)


def test_an_edited_overlay_is_kept(prepare, mine, tmp_path):
    prepare("mmseg-folder", mine)
    overlay = tmp_path / "data/mine/overlay.py"
    prepare("mmseg-folder", mine, "--ignore", 7)
    assert "ignore=(7,)" in overlay.read_text(), "an overlay nobody touched follows the arguments"
    overlay.write_text(overlay.read_text().replace("class 0", "floor"))
    assert "was edited and is kept" in prepare("mmseg-folder", mine)
    assert "floor" in overlay.read_text()


def test_bytes_that_changed_under_the_same_size_and_time_are_noticed(prepare, mine, tmp_path):
    prepare("mmseg-folder", mine)
    path = mine / "images/train/0.jpg"
    times, data = path.stat(), bytearray(path.read_bytes())
    data[40] ^= 255
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    _, sentence = prepare.refused("mmseg-folder", mine)
    assert "has other bytes" in sentence and "0.jpg" in sentence


def test_every_fault_is_counted_and_the_first_are_named(prepare, mine, tmp_path):
    for split, count in SPLITS.items():
        for k in range(count):
            label(mine / f"labels/{split}/{k}.png", [0, 1, 2])
    (tmp_path / "names.txt").write_text("floor\nwall\nball\n")
    cut(mine / "images/train/0.jpg")
    label(mine / "labels/train/1.png", [0, 1], height=9)
    for k in (2, 3):
        label(mine / f"labels/train/{k}.png", [0, 1, 17])
    photograph(mine / "labels/val/0.png")
    cut(mine / "labels/test/1.png", 0.7)
    screen, sentence = prepare.refused("mmseg-folder", mine, "--classes", tmp_path / "names.txt")
    for line in (
        "PROBLEM     unreadable or truncated image: 1",
        "PROBLEM     label map of another size than its image: 1",
        "PROBLEM     label map with an id nobody declared: 2",
        "PROBLEM     unreadable label map: 2",
    ):
        assert line in screen, line
    for what in ("images/train/0.jpg", "is 12x9 but its image", "label id 17", "3 channels", "annotations/test/1.png"):
        assert what in screen, what
    assert "6 problems" in sentence
    assert not (tmp_path / "data/mine/prepared.json").exists() and not (tmp_path / "data/mine/overlay.py").exists()


def test_mended_data_are_prepared_where_they_were_refused(prepare, mine, tmp_path):
    prepare("mmseg-folder", mine)
    whole = (mine / "images/val/1.jpg").read_bytes()
    cut(mine / "images/val/1.jpg")
    prepare.refused("mmseg-folder", mine)
    assert not (tmp_path / "data/mine/prepared.json").exists(), "a doctor must not take these for ready"
    (mine / "images/val/1.jpg").write_bytes(whole)
    assert "PROBLEM" not in prepare("mmseg-folder", mine)


def test_a_label_without_its_image(prepare, mine):
    (mine / "images/val/1.jpg").unlink()
    screen, _ = prepare.refused("mmseg-folder", mine)
    assert "file without its partner: 1" in screen
    assert "annotations/val/1.png: no image of the same name" in screen


def test_nothing_to_test_on(prepare, mine):
    shutil.rmtree(mine / "images/val")
    shutil.rmtree(mine / "images/test")
    _, sentence = prepare.refused("mmseg-folder", mine)
    assert "only training data" in sentence and "--splits" in sentence


def test_one_held_out_split_serves_twice_and_says_so(prepare, mine, tmp_path):
    shutil.rmtree(mine / "images/test")
    assert "val serves as val and as test" in prepare("mmseg-folder", mine)
    assert manifest(tmp_path / "data/mine")["data"]["splits"] == {"train": "train", "val": "val", "test": "val"}


def test_folders_of_other_names(prepare, mine, tmp_path):
    for split in SPLITS:
        (mine / f"pictures/{split}0").parent.mkdir(exist_ok=True)
        (mine / f"images/{split}").rename(mine / f"pictures/{split}0")
        (mine / f"ids_{split}0").symlink_to(mine / f"labels/{split}")
    _, sentence = prepare.refused("mmseg-folder", mine)
    assert "pictures" in sentence and "images/{split} with annotations/{split}" in sentence
    screen = prepare(
        "mmseg-folder", mine, "--images", "pictures/{split}", "--labels", "ids_{split}",
        "--splits", "train0", "val0", "test0", "--out", tmp_path / "data/other", "--size", 32, 64,
    )  # fmt: skip
    assert "PROBLEM" not in screen
    assert manifest(tmp_path / "data/other")["data"]["size"] == [32, 64]
    _, sentence = prepare.refused("mmseg-folder", mine, "--images", "pictures/{split}")
    assert "name both" in sentence
    _, sentence = prepare.refused("mmseg-folder", mine, "--images", "a", "--labels", "b")
    assert "{split}" in sentence


def test_ids_from_one(prepare, mine, tmp_path):
    assert "7 classes, ids 1..7 and ignored 0, 255" in prepare("mmseg-folder", mine, "--reduce-zero-label")
    assert manifest(tmp_path / "data/mine")["data"]["reduce_zero_label"] is True


def test_classes_that_cannot_be(prepare, mine, tmp_path):
    (tmp_path / "names.txt").write_text("floor\nfloor\n")
    assert "stands there twice" in prepare.refused("mmseg-folder", mine, "--classes", tmp_path / "names.txt")[1]
    assert "cannot be read" in prepare.refused("mmseg-folder", mine, "--classes", tmp_path / "absent.txt")[1]
    screen, _ = prepare.refused("mmseg-folder", mine, "--ignore", 0, 1, 2, 7)
    assert "no class" in screen


def test_places_that_are_taken(prepare, mine, tmp_path):
    assert "there is no" in prepare.refused("mmseg-folder", tmp_path / "nowhere")[1]
    assert "cannot be a data set's name" in prepare.refused("mmseg-folder", mine, "--out", tmp_path / "scenes")[1]
    (tmp_path / "taken/images/train").mkdir(parents=True)
    assert "is in the way" in prepare.refused("mmseg-folder", mine, "--out", tmp_path / "taken")[1]
    (tmp_path / "foreign/images").mkdir(parents=True)
    (tmp_path / "foreign/images/train").symlink_to(tmp_path / "taken")
    for _ in range(2):  # the refusal leaves nothing that a second try takes for its own
        assert "is in the way" in prepare.refused("mmseg-folder", mine, "--out", tmp_path / "foreign")[1]
    prepare("mmseg-folder", mine)
    shutil.copytree(mine, tmp_path / "twin")
    _, sentence = prepare.refused("mmseg-folder", tmp_path / "twin", "--out", "data/mine")
    assert "belongs to mmseg-folder from" in sentence


def test_data_that_lie_where_they_belong_are_checked_in_place(prepare, mine, tmp_path):
    (mine / "labels").rename(mine / "annotations")
    prepare("mmseg-folder", mine, "--out", mine)
    assert not (mine / "images/train").is_symlink() and manifest(mine)["name"] == "mine"
    assert "no file has changed" in prepare("mmseg-folder", mine, "--out", mine)


def camvid(root: Path) -> Path:
    """The SegNet tutorial's layout."""
    for split, count in SPLITS.items():
        for k in range(count):
            photograph(root / f"CamVid/{split}/{k}.png", seed=k)
            label(root / f"CamVid/{split}annot/{k}.png", range(12))
    return root / "CamVid"


def test_camvid(prepare, tmp_path):
    source = camvid(tmp_path)
    screen, _ = prepare.refused("camvid", source)
    assert "train has 4 images with labels, published are 367" in screen and "--allow-subset" in screen
    assert "11 classes, ids 0..10 and ignored 11, 255" in prepare("camvid", source, "--allow-subset")
    about = manifest(tmp_path / "data/camvid")
    assert about["subset"] is True and about["published"]["test"] == {"images with labels": 233}
    assert about["data"]["classes"][0] == "sky" and about["data"]["ignore"] == [11]
    label(source / "trainannot/0.png", [12])
    assert "label id 12" in prepare.refused("camvid", source, "--allow-subset")[0]
    _, sentence = prepare.refused("camvid", source / "train", "--out", "data/other")
    assert "SegNet tutorial" in sentence


def test_ade20k(prepare, tmp_path):
    source = tmp_path / "ADEChallengeData2016"
    for split, count in (("training", 3), ("validation", 2)):
        for k in range(count):
            photograph(source / f"images/{split}/ADE_{k}.jpg", seed=k)
            label(source / f"annotations/{split}/ADE_{k}.png", [0, 1, 150])
    screen, _ = prepare.refused("ade20k", source)
    assert "published are 20,210" in screen
    screen = prepare("ade20k", source, "--allow-subset")
    assert "150 classes, ids 1..150 and ignored 0, 255" in screen and "--scale paper" in screen
    assert not (tmp_path / "data/ade20k/overlay.py").exists(), "the paper configs name these data themselves"
    label(source / "annotations/training/ADE_0.png", [151])
    assert "label id 151" in prepare.refused("ade20k", source, "--allow-subset")[0]
    _, sentence = prepare.refused("ade20k", source / "images", "--out", "data/other")
    assert "Scene Parsing" in sentence
