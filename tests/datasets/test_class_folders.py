"""Test sets as they are read, and what is said about bad ones."""

import json

import cv2
import numpy as np
import pytest

from datasets.captioned import CaptionedImages
from datasets.class_folders import attribute_images, folder_images
from engine.errors import UserError
from pretrain.data.dataset import ImageFolder
from tests.pretrain.samples import make_sample, write_tar


def test_attribute_images(tmp_path):
    (tmp_path / "l.json").write_text('{"images": [{"file": "a/b.png", "shape": "cone", "colour": "red"}]}')
    assert attribute_images(tmp_path, "l.json") == [(tmp_path / "a" / "b.png", {"shape": "cone", "colour": "red"})]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"images": [{"shape": "cone"}]}', '{"images": [3]}'])
def test_other_label_files_are_refused(tmp_path, text):
    (tmp_path / "l.json").write_text(text)
    with pytest.raises(UserError, match=r"l.json lists no images with file and labels"):
        attribute_images(tmp_path, "l.json")


def test_absent_and_empty_label_files(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        attribute_images(tmp_path, "l.json")
    (tmp_path / "l.json").write_text('{"images": []}')
    with pytest.raises(UserError, match="lists no image"):
        attribute_images(tmp_path, "l.json")


def test_folder_images(tmp_path):
    for name in ("b_c/2.png", "b_c/1.JPG", "b_c/notes.txt", "a/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes())
    found, names = folder_images(tmp_path)
    assert names == ["a", "b_c"]
    assert [(str(path.relative_to(tmp_path)), label) for path, label in found] == [
        ("a/3.png", 0), ("b_c/1.JPG", 1), ("b_c/2.png", 1),
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    assert len(folder_images(tmp_path)[0]) == 3, "a test set may lack a class"
    with pytest.raises(UserError, match="the class folder 'empty' holds no image to learn from"):
        folder_images(tmp_path, to_learn=True)
    with pytest.raises(UserError, match="no class folder with images"):
        folder_images(tmp_path / "a")
    (tmp_path / "a" / "inner").mkdir()
    with pytest.raises(UserError, match="a has one class folder, 'inner': there is nothing to tell apart"):
        folder_images(tmp_path / "a")
    with pytest.raises(UserError, match="there is no folder of classes"):
        folder_images(tmp_path / "none")


def test_captions_in_order_and_the_first_of_many(tmp_path):
    samples = {k: make_sample(k) for k in range(3)}
    record = {"captions": {"human": [f"caption {n}" for n in range(7)]}}
    samples[1]["json"] = json.dumps(record).encode()
    samples[0]["json"] = samples[2]["json"] = json.dumps({"captions": {"human": "one"}}).encode()
    write_tar(tmp_path / "test-0.tar", samples)
    listed = CaptionedImages(tmp_path, "*.tar", "human")
    assert listed.texts == ["one", *(f"caption {n}" for n in range(5)), "one"]
    assert listed.owner == [0, 1, 1, 1, 1, 1, 2] and len(listed) == 3
    assert [image.shape for image in listed.images()] == [(40, 48, 3)] * 3


def test_samples_that_cannot_be_used_are_named(tmp_path):
    write_tar(tmp_path / "test-0.tar", {0: make_sample(0), 1: make_sample(1, damaged=True)})
    with pytest.raises(UserError, match="000000 has no caption 'human'"):
        CaptionedImages(tmp_path, "*.tar", "human")
    with pytest.raises(UserError, match="000001 cannot be used"):
        list(CaptionedImages(tmp_path, "*.tar", "aligned").images())
    write_tar(tmp_path / "test-0.tar", {0: {**make_sample(0), "json": b"{"}})
    with pytest.raises(UserError, match="damaged JSON"):
        CaptionedImages(tmp_path, "*.tar", "aligned")


def test_hidden_folders_and_files_are_no_classes_and_no_images(tmp_path):
    """Notebooks and file managers leave them; one scan serves pretraining, probes and captions of classes."""
    png = cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes()
    for name in ("b/1.png", "a/2.bmp", "a/._2.png", "a/Thumbs.db", ".ipynb_checkpoints/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png)
    found, names = folder_images(tmp_path)
    assert names == ["a", "b"] and [path.name for path, _ in found] == ["2.bmp", "1.png"]
    learnt = ImageFolder(str(tmp_path), 32)
    assert learnt.classes == names and [*learnt.files] == [(str(path), label) for path, label in found]
