"""Attributes of the largest solid against the exported labels and captions."""

import json
import shutil
import tarfile

import pytest

from engine.errors import UserError
from scenes.attributes import ensure_attributes


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
