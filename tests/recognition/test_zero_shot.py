"""Classifiers against open_clip's own; whole tests: towers that know the answers, the scenes, bad questions."""

import copy

import numpy as np
import open_clip
import pytest
import torch
from mmengine.config import Config
from torch.nn.functional import normalize

from backbones.text import tokenize
from backbones.towers import Towers
from datasets.class_folders import attribute_images
from engine.errors import UserError
from recognition.measures import hits
from recognition.zero_shot import class_embeddings, prompts, run, top_classes
from scenes.attributes import ensure_attributes

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white")
NAMES = ["red sphere", "blue cube", "metal cone", "torus"]


class Peer:
    """A model with open_clip's interface around the text tower of this suite."""

    def __init__(self, tower):
        self.tower = tower

    def encode_text(self, tokens, normalize):
        found = self.tower(tokens)
        return torch.nn.functional.normalize(found, dim=-1) if normalize else found


@pytest.mark.parametrize(
    "templates",
    [("a {}", "a photo of the {}."), open_clip.SIMPLE_IMAGENET_TEMPLATES, open_clip.OPENAI_IMAGENET_TEMPLATES],
    ids=["own", "simple", "openai"],
)
def test_equals_open_clip(clip, templates):
    folder, model = clip
    found = class_embeddings(Towers(folder).embed_texts, prompts(NAMES, templates))

    def rows(texts):
        return torch.stack([torch.from_numpy(tokenize(text, 16)) for text in texts])

    expected = open_clip.build_zero_shot_classifier(Peer(model.text), rows, NAMES, templates).T
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_an_ensemble_by_hand():
    rows = {"a x": [1.0, 0.0], "b x": [0.0, 1.0], "a y": [1.0, 0.0], "b y": [0.6, 0.8]}
    found = class_embeddings(
        lambda texts: torch.tensor([rows[t] for t in texts]), prompts(["x", "y"], ["a {}", "b {}"])
    )
    torch.testing.assert_close(found, normalize(torch.tensor([[0.5, 0.5], [0.8, 0.4]]), dim=-1))


def test_a_class_of_several_names_is_the_mean_over_all_their_prompts():
    rows = {"a x": [1.0, 0.0], "b x": [0.0, 1.0], "a z": [0.6, 0.8], "b z": [0.8, 0.6], "a y": [1.0, 0.0],
            "b y": [0.6, 0.8]}  # fmt: skip
    names = [("x", "z"), "y"]
    found = class_embeddings(lambda texts: torch.tensor([rows[t] for t in texts]), prompts(names, ["a {}", "b {}"]))
    torch.testing.assert_close(found, normalize(torch.tensor([[2.4, 2.4], [1.6, 0.8]]), dim=-1))


def test_top_classes_with_ties():
    classes = torch.eye(4)
    images = torch.tensor([[0.1, 0.9, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5], [0.0, 0.3, 0.0, 0.3]])
    assert top_classes(images, classes, 2).tolist() == [[1, 0], [0, 1], [1, 3]]
    assert top_classes(images, classes, 9).shape == (3, 4)
    assert hits(top_classes(images, classes, 2), torch.tensor([0, 3, 3])).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("names", "templates", "message"),
    [
        ([], ["a {}"], "at least one class name"),
        (["x"], [], "one template"),
        (["x"], ["a photo"], r"'a photo' has no \{\}"),
        (["x"], ["a {} {colour}"], r"'a \{\} \{colour\}' has more than a \{\} for the class name"),
    ],
)
def test_bad_classes(names, templates, message):
    with pytest.raises(UserError, match=message):
        prompts(names, templates)


class Knowing:
    """Towers of one number per colour: texts by the first colour named, images as they come by a list of colours."""

    def __init__(self, shown):
        self.shown = shown

    def embed_images(self, images):
        assert sum(1 for _ in images) == len(self.shown)
        return torch.eye(8)[[COLOURS.index(colour) for colour in self.shown]]

    def embed_texts(self, texts):
        return torch.eye(8)[[min(range(8), key=lambda k: (text + COLOURS[k]).find(COLOURS[k])) for text in texts]]

    def read(self, texts):
        return [*texts]


def ask(data, questions, towers):
    """The measures of a test."""
    return run(Config(dict(data=data, questions=copy.deepcopy(questions))), towers).measures


@pytest.fixture
def questions():
    return {"colour": {"classes": COLOURS, "templates": ("a {}", "the {} one")}}


@pytest.fixture
def data(scenes_root):
    ensure_attributes(scenes_root, "test")
    return {"kind": "attributes", "root": scenes_root, "labels": "attributes/test.json"}


def test_what_knowing_towers_get(data, questions):
    colours = [words["colour"] for _, words in attribute_images(data["root"], data["labels"])]
    perfect = ask(data, questions, Knowing(colours))
    assert [(m.name, m.value, m.low, m.high) for m in perfect] == [
        ("top1", 100, 100, 100), ("mean_per_class", 100, 100, 100), ("top5", 100, 100, 100),
    ]  # fmt: skip
    assert [m.chance for m in perfect] == [12.5, 12.5, 62.5]
    wrong = [*(COLOURS[COLOURS.index(c) - 1] for c in colours[:2]), *colours[2:]]
    top1, mean, _ = ask(data, questions, Knowing(wrong))
    assert top1.value == pytest.approx(75) and top1.low < 75 < top1.high
    by_class = [np.mean([w == c for c, w in zip(colours, wrong, strict=True) if c == k]) for k in set(colours)]
    assert mean.value == pytest.approx(100 * np.mean(by_class))


def test_an_image_folder_and_published_templates(scenes_root, clip):
    data = {"kind": "image_folder", "root": scenes_root / "imagefolder" / "test"}
    found = ask(data, {"class": {"templates": "imagenet7"}}, Towers(clip[0]))
    assert [m.name for m in found] == ["top1", "mean_per_class", "top5"]
    assert all(0 <= m.low <= m.value <= m.high <= 100 for m in found)


def test_bad_questions(data, questions, clip, scenes_root):
    towers = Towers(clip[0])
    folder = {"kind": "image_folder", "root": scenes_root / "imagefolder" / "test"}
    lacking = {"colour": {**questions["colour"], "classes": ("pink",)}}
    for arguments, message in (
        ((data, lacking, towers), "its colour is .* which is none of pink"),
        ((folder, {**questions, "more": {}}, towers), "ask one question, not 2"),
        ((folder, {"class": {"templates": "imagenet8"}}, towers), "unknown templates 'imagenet8'"),
    ):
        with pytest.raises(UserError, match=message):
            ask(*arguments)


def test_the_configs_ask_of_the_scenes_what_they_show(data, clip):
    cfg = Config.fromfile("recognition/configs/zero_shot.py")
    found = ask(data, cfg.questions, Towers(clip[0]))
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


def test_one_class_is_no_question(data, tmp_path, clip):
    """Guessing would be right each time, whatever the encoder."""
    alone = {"colour": {"classes": ("red",), "templates": ("a {}",)}}
    (tmp_path / "labels.json").write_text('{"images": [{"file": "a.png", "colour": "red"}]}')
    with pytest.raises(UserError, match="question 'colour' has one class, 'red': there is nothing to tell apart"):
        ask({"kind": "attributes", "root": tmp_path, "labels": "labels.json"}, alone, Towers(clip[0]))
    (tmp_path / "list.txt").write_text("only/1.png\nonly/2.png\n")
    listed = {"kind": "image_list", "root": tmp_path, "list": "list.txt"}
    with pytest.raises(UserError, match="question 'q' has one class, 'only'"):
        ask(listed, {"q": {"templates": ("a {}",)}}, Towers(clip[0]))
    (tmp_path / "folders" / "only").mkdir(parents=True)
    with pytest.raises(UserError, match="has one class folder, 'only'"):
        ask({"kind": "image_folder", "root": tmp_path / "folders"}, {"q": {"templates": ("a {}",)}}, Towers(clip[0]))
