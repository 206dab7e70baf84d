"""From a configuration and a checkpoint's towers to measures with bootstrap intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from backbones.towers import Features, Towers
from datasets.captioned import CaptionedImages
from datasets.class_folders import attribute_images, folder_images, listed_images, train_and_test
from datasets.images import read_rgb
from engine.errors import UserError
from recognition.feature_store import pooled_features
from recognition.intervals import interval, resamples, weighted_share
from recognition.knn import classify
from recognition.naming import class_words, distinct
from recognition.retrieval import both_directions
from recognition.zero_shot import class_embeddings, hits, mean_per_class, top_classes

KINDS = ("attributes", "image_folder", "image_list")
PUBLISHED = {"imagenet80": open_clip.OPENAI_IMAGENET_TEMPLATES, "imagenet7": open_clip.SIMPLE_IMAGENET_TEMPLATES}


@dataclass(frozen=True)
class Measure:
    """A share in %: its name in the record, its value, its 95 % interval over images, and what guessing gives."""

    name: str
    value: float
    low: float
    high: float
    chance: float


def zero_shot(data: Mapping[str, Any], questions: Mapping[str, Any], towers: Towers) -> list[Measure]:
    """Zero-shot classification of a test set.

    Args:
        data: kind "attributes": root, and labels, the file below it that names images and their words for each
            question. Kind "image_folder", with a folder per class below root, and kind "image_list", see
            `listed_images`: of these one question is asked, its classes as in `class_words`.
        questions: name -> {"classes": words, "templates": see `class_embeddings`, or a name in PUBLISHED}.
        towers: of the checkpoint.

    Returns: top1 and mean_per_class, the means over the questions, and top5 of a single question of more than five
    classes; of several questions also <question>_top1, <question>_mean_per_class and <question>_top5.

    Raises:
        UserError: a test set that cannot be read, or an image whose word is none of the classes.
    """
    if data["kind"] in ("image_folder", "image_list"):
        if len(questions) != 1:
            raise UserError(f"{data['root']} has one label per image: ask one question, not {len(questions)}")
        listed, folders = folder_images(data["root"]) if data["kind"] == "image_folder" else listed_images(data)
        files, numbers = [file for file, _ in listed], torch.tensor([number for _, number in listed])
        ((question, asked),) = questions.items()
        if ("classes" in asked or "count" in asked) and len(numbers.unique()) < len(folders):
            empty = next(folder for number, folder in enumerate(folders) if number not in numbers)
            raise UserError(f"{data['root']}: the class folder {empty!r} holds no image: complete the test set")
        labels = {question: (class_words(folders, asked, str(data["root"])), numbers)}
    elif data["kind"] == "attributes":
        entries = attribute_images(data["root"], data["labels"])
        files = [file for file, _ in entries]
        labels = {name: (distinct(asked["classes"]), numbered(entries, name, asked["classes"]))
                  for name, asked in questions.items()}  # fmt: skip
    else:
        raise UserError(f"zero-shot needs data of kind {', '.join(map(repr, KINDS))}, not {data['kind']!r}")
    images = towers.embed_images(map(read_rgb, tqdm(files, desc="images", unit="img", leave=False)))
    answers = {}
    for name, (classes, truth) in labels.items():
        templates = published(questions[name]["templates"])
        nearest = top_classes(images, class_embeddings(towers.embed_texts, classes, templates), 5)
        answers[name] = Answer(nearest, truth, len(classes))
    weights = resamples(len(images))
    found = accuracies("", [*answers.values()], weights)
    if len(answers) > 1:
        for name, answer in answers.items():
            found += accuracies(f"{name}_", [answer], weights)
    return found


@dataclass(frozen=True)
class Answer:
    """A classifier's answers to one question: the nearest classes [N, k], best first, the true ones [N], how many."""

    nearest: Tensor
    truth: Tensor
    classes: int


def published(templates: str | Sequence[str]) -> Sequence[str | Callable[[str], str]]:
    """The templates of a published list where one is named, else those given. UserError for an unknown name."""
    if isinstance(templates, str) and templates not in PUBLISHED:
        raise UserError(f"unknown templates {templates!r}: give a list, or one of {', '.join(PUBLISHED)}")
    return PUBLISHED[templates] if isinstance(templates, str) else templates


def numbered(entries: Sequence[tuple[Any, dict[str, str]]], name: str, classes: Sequence[str]) -> Tensor:
    """The class of each image for the question `name`, int64 [N]. UserError names an image that has none of them."""
    place = {word: number for number, word in enumerate(classes)}
    for file, words in entries:
        if words.get(name) not in place:
            raise UserError(f"{file}: its {name} is {words.get(name)!r}, which is none of {', '.join(classes)}")
    return torch.tensor([place[words[name]] for _, words in entries])


def accuracies(prefix: str, answers: Sequence[Answer], weights: Tensor) -> list[Measure]:
    """top1 and mean_per_class, means over the questions, and top5 of one question where the classes are more than five.

    Args:
        prefix: of the names.
        answers: to questions about the same N images.
        weights: from `resamples`.
    """
    images = torch.arange(weights.shape[1])
    top1 = [hits(answer.nearest[:, :1], answer.truth) for answer in answers]

    def per_class(counts: Tensor | None = None) -> Tensor:
        each = [mean_per_class(hit, answer.truth, counts) for hit, answer in zip(top1, answers, strict=True)]
        return torch.stack(each).mean(dim=0)

    chance = sum(1 / answer.classes for answer in answers) / len(answers)
    found = [
        share(f"{prefix}top1", torch.cat(top1), images.repeat(len(answers)), weights, chance),
        percent(f"{prefix}mean_per_class", float(per_class()), interval(per_class, weights), chance),
    ]
    if len(answers) == 1 and answers[0].classes > 5 <= answers[0].nearest.shape[1]:
        top5 = hits(answers[0].nearest, answers[0].truth)
        found.append(share(f"{prefix}top5", top5, images, weights, 5 / answers[0].classes))
    return found


def retrieval(data: Mapping[str, Any], captions: str, towers: Towers, prefix: str = "") -> list[Measure]:
    """R@1, R@5 and R@10 from image to text and from text to image on shards of captioned images.

    Args:
        data: kind "image_text", with root and pattern of the shards.
        captions: which; see `CaptionedImages`.
        towers: of the checkpoint.
        prefix: what is put before each caption, such as "a photo of".

    Guessing finds one of an image's c among T texts in K drawn ones with probability 1 - C(T - c, K) / C(T, K).
    """
    if data["kind"] != "image_text":
        raise UserError(f"retrieval needs data of kind 'image_text', not {data['kind']!r}")
    listed = CaptionedImages(data["root"], data["pattern"], captions)
    captions = [f"{prefix} {text}" if prefix else text for text in listed.texts]
    images, texts, owner = towers.embed_images(listed.images()), towers.embed_texts(captions), listed.owner
    to_text, to_image = both_directions(images, texts, owner)
    weights = resamples(len(images))
    found = []
    captions_each = torch.bincount(torch.tensor(owner)).tolist()
    for k in (1, 5, 10):
        drawn = min(k, len(texts))
        missed = [comb(len(texts) - c, drawn) / comb(len(texts), drawn) for c in captions_each]
        chance = 1 - sum(missed) / len(missed)
        found.append(share(f"image_to_text_R{k}", to_text < k, torch.arange(len(images)), weights, chance))
    for k in (1, 5, 10):
        chance = min(1, k / len(images))
        found.append(share(f"text_to_image_R{k}", to_image < k, torch.tensor(owner), weights, chance))
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
    train, test, names = train_and_test(data, "k-NN")
    labels, truth = (torch.tensor([number for _, number in listed]) for listed in (train, test))
    known, asked = (
        F.normalize(pooled_features(features, [path for path, _ in part]), dim=-1) for part in (train, test)
    )
    nearest = classify(known, labels, asked, neighbours)[:, None]
    return accuracies("", [Answer(nearest, truth, len(names))], resamples(len(truth)))


def share(name: str, hit: Tensor, image: Tensor, weights: Tensor, chance: float) -> Measure:
    """The share of hits [T] of items that belong to images [T]."""
    return percent(name, float(hit.float().mean()), interval(weighted_share(hit, image), weights), chance)


def percent(name: str, value: float, bounds: tuple[float, float], chance: float) -> Measure:
    """A measure from shares of 1."""
    return Measure(name, 100 * value, 100 * bounds[0], 100 * bounds[1], 100 * chance)
