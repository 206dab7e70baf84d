"""Attributes of the largest solid against the exported labels and captions."""

import json
import shutil
import tarfile

import pytest

from engine.errors import UserError
from scenes import attributes
from scenes.attributes import ensure_attributes, ensure_classes


def test_they_agree_with_labels_and_captions(scenes_root):
    images = json.loads(ensure_attributes(scenes_root, "test").read_text())["images"]
    coco = json.loads((scenes_root / "coco" / "instances_test.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    with tarfile.open(scenes_root / "shards" / "test-00000.tar") as tar:
        texts = [json.load(tar.extractfile(m))["captions"]["aligned"] for m in tar if m.name.endswith(".json")]
    assert len(images) == len(texts) == len(coco["images"])
    for image, text, entry in zip(images, texts, coco["images"], strict=True):
        found = [a for a in coco["annotations"] if a["image_id"] == entry["id"]]
        assert image["shape"] == names[max(found, key=lambda a: a["area"])["category_id"]]
        assert f"{image['colour']} {image['material']} {image['shape']}" in text
        assert (scenes_root / image["file"]).is_file()


def test_it_is_made_once_and_stays(scenes_root):
    path = ensure_attributes(scenes_root, "val")
    before = path.stat().st_mtime_ns
    assert ensure_attributes(scenes_root, "val").stat().st_mtime_ns == before


def test_class_folders_hold_every_image_once(scenes_root):
    base = ensure_classes(scenes_root, "colour")
    for split in ("pretrain", "val", "test"):
        images = json.loads(ensure_attributes(scenes_root, split).read_text())["images"]
        found = {path.name: path for path in (base / split).glob("*/*.png")}
        assert len(found) == len(images) == len([*(base / split).rglob("*.png")])
        for image in images:
            path = found[image["file"].rsplit("/", 1)[1]]
            assert path.parent.name == image["colour"] and path.samefile(scenes_root / image["file"])
        assert {folder.name for folder in (base / split).iterdir()} == set(attributes.COLOURS), "empty classes too"


def test_class_folders_are_whole_or_not_there(scenes_root, tmp_path, monkeypatch):
    root = shutil.copytree(scenes_root, tmp_path / "scenes", ignore=shutil.ignore_patterns("classes"))

    def stopped(base, classes, words):
        (base / "matte").mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(attributes, "link_classes", stopped)
        ensure_classes(root, "material")
    assert not (root / "classes/material").exists()
    base = ensure_classes(root, "material")
    assert base == root / "classes/material" and len([*base.rglob("*.png")]) == 48 + 8 + 8
    with pytest.raises(UserError, match="no attribute 'weight': choose one of shape, colour, material"):
        ensure_classes(root, "weight")


def test_other_folders_are_refused(scenes_root, tmp_path):
    with pytest.raises(UserError, match="no complete export of scenes"):
        ensure_attributes(tmp_path, "test")
    with pytest.raises(UserError, match="has no split 'dev'"):
        ensure_attributes(scenes_root, "dev")
    shutil.copy(scenes_root / "manifest.json", tmp_path)
    text = (tmp_path / "manifest.json").read_text().replace('"generator": 1', '"generator": 9')
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match="generator 9"):
        ensure_attributes(tmp_path, "test")
