"""Classifiers against open_clip's own, and measures against cases by hand."""

import open_clip
import pytest
import torch
from torch.nn.functional import normalize

from backbones.text import tokenize
from backbones.towers import Towers
from engine.errors import UserError
from recognition.zero_shot import class_embeddings, hits, mean_per_class, top_classes

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
    found = class_embeddings(Towers(folder).embed_texts, NAMES, templates)

    def rows(texts):
        return torch.stack([torch.from_numpy(tokenize(text, 16)) for text in texts])

    expected = open_clip.build_zero_shot_classifier(Peer(model.text), rows, NAMES, templates).T
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_an_ensemble_by_hand():
    prompts = {"a x": [1.0, 0.0], "b x": [0.0, 1.0], "a y": [1.0, 0.0], "b y": [0.6, 0.8]}
    found = class_embeddings(lambda texts: torch.tensor([prompts[t] for t in texts]), ["x", "y"], ["a {}", "b {}"])
    torch.testing.assert_close(found, normalize(torch.tensor([[0.5, 0.5], [0.8, 0.4]]), dim=-1))


def test_a_class_of_several_names_is_the_mean_over_all_their_prompts():
    prompts = {"a x": [1.0, 0.0], "b x": [0.0, 1.0], "a z": [0.6, 0.8], "b z": [0.8, 0.6], "a y": [1.0, 0.0],
               "b y": [0.6, 0.8]}  # fmt: skip
    names = [("x", "z"), "y"]
    found = class_embeddings(lambda texts: torch.tensor([prompts[t] for t in texts]), names, ["a {}", "b {}"])
    torch.testing.assert_close(found, normalize(torch.tensor([[2.4, 2.4], [1.6, 0.8]]), dim=-1))


def test_top_classes_with_ties():
    classes = torch.eye(4)
    images = torch.tensor([[0.1, 0.9, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5], [0.0, 0.3, 0.0, 0.3]])
    assert top_classes(images, classes, 2).tolist() == [[1, 0], [0, 1], [1, 3]]
    assert top_classes(images, classes, 9).shape == (3, 4)
    assert hits(top_classes(images, classes, 2), torch.tensor([0, 3, 3])).tolist() == [True, False, True]


def test_mean_per_class_by_hand():
    labels, hit = torch.tensor([0, 0, 0, 2]), torch.tensor([True, True, False, False])
    assert mean_per_class(hit, labels).tolist() == pytest.approx([(2 / 3 + 0) / 2])  # class 1 does not occur
    weights = torch.tensor([[1.0, 0, 2, 1], [1, 1, 2, 0]])
    assert mean_per_class(hit, labels, weights).tolist() == pytest.approx([(1 / 3) / 2, 2 / 4])


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
        class_embeddings(lambda texts: torch.ones(len(texts), 2), names, templates)
