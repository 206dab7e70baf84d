"""Whole evaluations: towers that know the answers, the embedded scenes, and bad questions."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config

from backbones.towers import Towers
from datasets.captioned import CaptionedImages
from datasets.class_folders import attribute_images
from engine.errors import UserError
from recognition.evaluation import Answer, accuracies, retrieval, zero_shot
from recognition.intervals import resamples
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
        ("top1", 100, 100, 100), ("mean_per_class", 100, 100, 100), ("top5", 100, 100, 100),
    ]  # fmt: skip
    assert [m.chance for m in perfect] == [12.5, 12.5, 62.5]
    wrong = [*(COLOURS[COLOURS.index(c) - 1] for c in colours[:2]), *colours[2:]]
    top1, mean, _ = zero_shot(data, questions, Knowing(wrong))
    assert top1.value == pytest.approx(75) and top1.low < 75 < top1.high
    by_class = [np.mean([w == c for c, w in zip(colours, wrong, strict=True) if c == k]) for k in set(colours)]
    assert mean.value == pytest.approx(100 * np.mean(by_class))


def test_an_image_folder_and_published_templates(scenes_root, clip):
    data = {"kind": "image_folder", "root": scenes_root / "imagefolder" / "test"}
    found = zero_shot(data, {"class": {"templates": "imagenet7"}}, Towers(clip[0]))
    assert [m.name for m in found] == ["top1", "mean_per_class", "top5"]
    assert all(0 <= m.low <= m.value <= m.high <= 100 for m in found)


def test_retrieval_on_the_scenes(scenes_root, clip):
    data = {"kind": "image_text", "root": scenes_root / "shards", "pattern": "test-*.tar"}
    found = retrieval(data, "aligned", Towers(clip[0]))
    assert [m.name for m in found[:3]] == ["image_to_text_R1", "image_to_text_R5", "image_to_text_R10"]
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
        (({"kind": "coco"}, questions, towers), "'attributes', 'image_folder', 'image_list', not 'coco'"),
    ):
        with pytest.raises(UserError, match=message):
            zero_shot(*arguments)
    with pytest.raises(UserError, match="'image_text', not 'coco'"):
        retrieval({"kind": "coco"}, "aligned", towers)


def test_the_configs_ask_of_the_scenes_what_they_show(data, clip):
    cfg = Config.fromfile("recognition/configs/zero_shot.py")
    found = zero_shot(data, copy.deepcopy(cfg.questions), Towers(clip[0]))
    assert [m.name for m in found] == [
        "top1", "mean_per_class", "shape_top1", "shape_mean_per_class", "shape_top5", "colour_top1",
        "colour_mean_per_class", "colour_top5", "material_top1", "material_mean_per_class",
    ]  # fmt: skip
    value = {m.name: m.value for m in found}
    for measure in ("top1", "mean_per_class"):
        each = [value[f"{question}_{measure}"] for question in ("shape", "colour", "material")]
        assert value[measure] == pytest.approx(np.mean(each))
    chance = {m.name: m.chance for m in found}
    assert chance["top1"] == pytest.approx(100 * (1 / 6 + 1 / 8 + 1 / 3) / 3)


def test_the_interval_of_a_mean_over_questions_draws_images():
    """Each image is drawn with all its answers; the bounds are those of the resampled means."""
    generator = torch.Generator().manual_seed(1)
    truths = [torch.randint(classes, (30,), generator=generator) for classes in (2, 7)]
    nearest = [torch.randint(classes, (30, 1), generator=generator) for classes in (2, 7)]
    answers = [Answer(n, t, c) for n, t, c in zip(nearest, truths, (2, 7), strict=True)]
    weights = resamples(30, count=400)
    top1, mean = accuracies("", answers, weights)
    drawn = [[k for k, n in enumerate(row) for _ in range(n)] for row in weights.int().tolist()]
    right = [(n[:, 0] == t).double().numpy() for n, t in zip(nearest, truths, strict=True)]
    shares = [np.mean([right[0][images].mean(), right[1][images].mean()]) for images in drawn]
    assert (top1.low, top1.high) == pytest.approx(tuple(100 * np.quantile(shares, [0.025, 0.975])), abs=1e-3)
    per_class = []
    for images in drawn:
        each = [[h[[i for i in images if t[i] == c]].mean() for c in set(t[images].tolist())]
                for h, t in zip(right, truths, strict=True)]  # fmt: skip
        per_class.append(np.mean([np.mean(values) for values in each]))
    assert (mean.low, mean.high) == pytest.approx(tuple(100 * np.quantile(per_class, [0.025, 0.975])), abs=1e-3)


def test_a_prefix_stands_before_each_caption(scenes_root):
    heard = []

    class Listening(Knowing):
        def embed_texts(self, texts):
            heard.extend(texts)
            return torch.eye(8)

    data = {"kind": "image_text", "root": scenes_root / "shards", "pattern": "test-*.tar"}
    for prefix in ("", "a photo of"):
        retrieval(data, "aligned", Listening(["red"] * 8), prefix)
    assert heard[8:] == [f"a photo of {text}" for text in heard[:8]] and not heard[0].startswith("a photo of")
