"""Whole evaluations: towers that know the answers, the embedded scenes, and bad questions."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config

from engine.errors import UserError
from recognition.data import CaptionedImages, attribute_images
from recognition.evaluation import retrieval, zero_shot
from recognition.towers import Towers
from scenes.attributes import ensure_attributes

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white")


class Knowing:
    """Towers of one number per colour: texts by the first colour named, images as they come by a list of colours."""

    def __init__(self, shown):
        self.shown = shown

    def embed_images(self, images):
        assert sum(1 for _ in images) == len(self.shown)
        return torch.eye(8)[[COLOURS.index(colour) for colour in self.shown]]

    def embed_texts(self, texts):
        return torch.eye(8)[[min(range(8), key=lambda k: (text + COLOURS[k]).find(COLOURS[k])) for text in texts]]


@pytest.fixture
def questions():
    return {"colour": {"classes": COLOURS, "templates": ("a {}", "the {} one")}}


@pytest.fixture
def data(scenes_root):
    ensure_attributes(scenes_root, "test")
    return {"kind": "attributes", "root": scenes_root, "labels": "attributes/test.json"}


def test_what_knowing_towers_get(data, questions):
    colours = [words["colour"] for _, words in attribute_images(data["root"], data["labels"])]
    perfect = zero_shot(data, questions, Knowing(colours))
    assert [(m.name, m.value, m.low, m.high) for m in perfect] == [
        ("colour top-1", 100, 100, 100), ("colour mean per class", 100, 100, 100), ("colour top-5", 100, 100, 100),
    ]  # fmt: skip
    assert [m.chance for m in perfect] == [12.5, 12.5, 62.5]
    wrong = [*(COLOURS[COLOURS.index(c) - 1] for c in colours[:2]), *colours[2:]]
    top1, mean, _ = zero_shot(data, questions, Knowing(wrong))
    assert top1.value == pytest.approx(75) and top1.low < 75 < top1.high
    by_class = [np.mean([w == c for c, w in zip(colours, wrong, strict=True) if c == k]) for k in set(colours)]
    assert mean.value == pytest.approx(100 * np.mean(by_class))
    assert "colour top-1" in str(top1) and "chance 12.5 %" in str(top1)


def test_an_image_folder_and_published_templates(scenes_root, clip):
    data = {"kind": "image_folder", "root": scenes_root / "imagefolder" / "test"}
    found = zero_shot(data, {"class": {"templates": "imagenet7"}}, Towers(clip[0]))
    assert [m.name for m in found] == ["class top-1", "class mean per class", "class top-5"]
    assert all(0 <= m.low <= m.value <= m.high <= 100 for m in found)


def test_retrieval_on_the_scenes(scenes_root, clip):
    data = {"kind": "image_text", "root": scenes_root / "shards", "pattern": "test-*.tar"}
    found = retrieval(data, "aligned", Towers(clip[0]))
    assert [m.name for m in found[:3]] == ["image to text R@1", "image to text R@5", "image to text R@10"]
    assert found[2].value == found[5].value == 100  # 8 images
    assert found[0].chance == found[3].chance == pytest.approx(12.5)

    listed = CaptionedImages(data["root"], data["pattern"], "aligned")
    towers = Towers(clip[0])
    scores = towers.embed_images(listed.images()) @ towers.embed_texts(listed.texts).T
    assert found[0].value == pytest.approx(100 * float((scores.argmax(1) == torch.arange(8)).float().mean()))
    assert found[3].value == pytest.approx(100 * float((scores.argmax(0) == torch.arange(8)).float().mean()))


def test_bad_questions(data, questions, clip, scenes_root):
    towers = Towers(clip[0])
    folder = {"kind": "image_folder", "root": scenes_root / "imagefolder" / "test"}
    lacking = {"colour": {**questions["colour"], "classes": ("pink",)}}
    for arguments, message in (
        ((data, lacking, towers), "its colour is .* which is none of pink"),
        ((folder, {**questions, "more": {}}, towers), "ask one question, not 2"),
        ((folder, {"class": {"templates": "imagenet8"}}, towers), "unknown templates 'imagenet8'"),
        (({"kind": "coco"}, questions, towers), "'attributes' or 'image_folder', not 'coco'"),
    ):
        with pytest.raises(UserError, match=message):
            zero_shot(*arguments)
    with pytest.raises(UserError, match="'image_text', not 'coco'"):
        retrieval({"kind": "coco"}, "aligned", towers)


def test_the_configs_ask_of_the_scenes_what_they_show(data, clip):
    cfg = Config.fromfile("recognition/configs/zero_shot.py")
    found = zero_shot(data, copy.deepcopy(cfg.questions), Towers(clip[0]))
    assert [m.name for m in found] == [
        "shape top-1", "shape mean per class", "shape top-5", "colour top-1", "colour mean per class", "colour top-5",
        "material top-1", "material mean per class",
    ]  # fmt: skip
