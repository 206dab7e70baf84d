"""From a configuration and a checkpoint's towers to measures with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import open_clip
import torch
from torch import Tensor

from engine.errors import UserError
from recognition.data import CaptionedImages, attribute_images, folder_images
from recognition.intervals import interval, resamples, weighted_share
from recognition.knn import classify
from recognition.retrieval import both_directions
from recognition.towers import Features, Towers, read_image
from recognition.zero_shot import class_embeddings, hits, mean_per_class, top_classes

PUBLISHED = {"imagenet80": open_clip.OPENAI_IMAGENET_TEMPLATES, "imagenet7": open_clip.SIMPLE_IMAGENET_TEMPLATES}


@dataclass(frozen=True)
class Measure:
    """A share in %: its value, its 95 % interval over images, and what guessing gives."""

    name: str
    value: float
    low: float
    high: float
    chance: float

    def __str__(self) -> str:
        interval = f"[{self.low:5.1f}, {self.high:5.1f}]"
        return f"{self.name:<24} {self.value:5.1f} %  {interval}  chance {self.chance:.1f} %"


def zero_shot(data: Mapping[str, Any], questions: Mapping[str, Any], towers: Towers) -> list[Measure]:
    """Zero-shot classification of a test set.

    Args:
        data: kind "attributes": root, and labels, the file below it that names images and their words for each
            question. Kind "image_folder": root, with a folder per class, whose name ("_" read as a space) is the
            class's name; the one question then needs templates alone.
        questions: name -> {"classes": words, "templates": see `class_embeddings`, or a name in PUBLISHED}.
        towers: of the checkpoint.

    Raises:
        UserError: a test set that cannot be read, or an image whose word is none of the classes.
    """
    if data["kind"] == "image_folder":
        if len(questions) != 1:
            raise UserError(f"{data['root']} has one label per image: ask one question, not {len(questions)}")
        listed, names = folder_images(data["root"])
        files, numbers = [file for file, _ in listed], torch.tensor([number for _, number in listed])
        (question,) = questions
        labels = {question: ([name.replace("_", " ") for name in names], numbers)}
    elif data["kind"] == "attributes":
        entries = attribute_images(data["root"], data["labels"])
        files = [file for file, _ in entries]
        labels = {name: (asked["classes"], numbered(entries, name, asked["classes"]))
                  for name, asked in questions.items()}  # fmt: skip
    else:
        raise UserError(f"zero-shot needs data of kind 'attributes' or 'image_folder', not {data['kind']!r}")
    images = towers.embed_images(map(read_image, files))
    weights = resamples(len(images))
    found = []
    for name, (classes, truth) in labels.items():
        templates = questions[name]["templates"]
        if isinstance(templates, str):
            if templates not in PUBLISHED:
                raise UserError(f"unknown templates {templates!r}: give a list, or one of {', '.join(PUBLISHED)}")
            templates = PUBLISHED[templates]
        nearest = top_classes(images, class_embeddings(towers.embed_texts, classes, templates), 5)
        found += accuracy(name, nearest, truth, len(classes), weights)
    return found


def numbered(entries: Sequence[tuple[Any, dict[str, str]]], name: str, classes: Sequence[str]) -> Tensor:
    """The class of each image for the question `name`, int64 [N]. UserError names an image that has none of them."""
    place = {word: number for number, word in enumerate(classes)}
    for file, words in entries:
        if words.get(name) not in place:
            raise UserError(f"{file}: its {name} is {words.get(name)!r}, which is none of {', '.join(classes)}")
    return torch.tensor([place[words[name]] for _, words in entries])


def accuracy(name: str, nearest: Tensor, truth: Tensor, classes: int, weights: Tensor) -> list[Measure]:
    """Top-1, mean per class and, with more than five classes, top-5 of the nearest classes [N, 5] of images."""
    own = torch.arange(len(truth))
    top1 = hits(nearest[:, :1], truth)
    found = [share(f"{name} top-1", top1, own, weights, 1 / classes)]
    value, bounds = float(mean_per_class(top1, truth)), interval(lambda w: mean_per_class(top1, truth, w), weights)
    found.append(percent(f"{name} mean per class", value, bounds, 1 / classes))
    if classes > 5:
        found.append(share(f"{name} top-5", hits(nearest, truth), own, weights, 5 / classes))
    return found


def retrieval(data: Mapping[str, Any], captions: str, towers: Towers) -> list[Measure]:
    """R@1, R@5 and R@10 from image to text and from text to image on shards of captioned images.

    Args:
        data: kind "image_text", with root and pattern of the shards.
        captions: which; see `CaptionedImages`.
        towers: of the checkpoint.

    Guessing finds one of an image's c among T texts in K drawn ones with probability 1 - C(T - c, K) / C(T, K).
    """
    if data["kind"] != "image_text":
        raise UserError(f"retrieval needs data of kind 'image_text', not {data['kind']!r}")
    listed = CaptionedImages(data["root"], data["pattern"], captions)
    images, texts, owner = towers.embed_images(listed.images()), towers.embed_texts(listed.texts), listed.owner
    to_text, to_image = both_directions(images, texts, owner)
    weights = resamples(len(images))
    found = []
    captions_each = torch.bincount(torch.tensor(owner)).tolist()
    for k in (1, 5, 10):
        drawn = min(k, len(texts))
        missed = [comb(len(texts) - c, drawn) / comb(len(texts), drawn) for c in captions_each]
        chance = 1 - sum(missed) / len(missed)
        found.append(share(f"image to text R@{k}", to_text < k, torch.arange(len(images)), weights, chance))
    for k in (1, 5, 10):
        chance = min(1, k / len(images))
        found.append(share(f"text to image R@{k}", to_image < k, torch.tensor(owner), weights, chance))
    return found


def nearest_neighbours(data: Mapping[str, Any], neighbours: int, features: Features) -> list[Measure]:
    """k-NN accuracy of frozen features.

    Args:
        data: kind "image_folder", with train and test, each a folder with a folder per class.
        neighbours: how many vote.
        features: of the checkpoint.

    Raises:
        UserError: folders that cannot be read, or whose classes differ.
    """
    if data["kind"] != "image_folder":
        raise UserError(f"k-NN needs data of kind 'image_folder', not {data['kind']!r}")
    (train, names), (test, others) = folder_images(data["train"]), folder_images(data["test"])
    if names != others:
        raise UserError(f"{data['train']} and {data['test']} have other class folders: make them the same")
    labels, truth = (torch.tensor([number for _, number in listed]) for listed in (train, test))
    known, asked = (features.embed_images(read_image(path) for path, _ in listed) for listed in (train, test))
    hit, weights = classify(known, labels, asked, neighbours) == truth, resamples(len(truth))
    value, bounds = float(mean_per_class(hit, truth)), interval(lambda w: mean_per_class(hit, truth, w), weights)
    return [
        share(f"{neighbours}-NN top-1", hit, torch.arange(len(truth)), weights, 1 / len(names)),
        percent(f"{neighbours}-NN mean per class", value, bounds, 1 / len(names)),
    ]


def share(name: str, hit: Tensor, image: Tensor, weights: Tensor, chance: float) -> Measure:
    """The share of hits [T] of items that belong to images [T]."""
    return percent(name, float(hit.float().mean()), interval(weighted_share(hit, image), weights), chance)


def percent(name: str, value: float, bounds: tuple[float, float], chance: float) -> Measure:
    """A measure from shares of 1."""
    return Measure(name, 100 * value, 100 * bounds[0], 100 * bounds[1], 100 * chance)
