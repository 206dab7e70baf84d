"""Zero-shot classification: a class is the mean of its prompts' embeddings (Radford et al. 2021, as in open_clip).

w_c = normalise(mean over templates t of normalise(E_T(t(c)))); an image belongs to the class whose w_c is nearest.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from mmengine.config import Config
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from backbones.towers import Towers
from datasets.class_folders import attribute_images, folder_images, listed_images
from datasets.images import read_rgb
from engine.errors import UserError
from engine.outcome import Outcome, resamples
from recognition.measures import Answer, accuracies
from recognition.naming import ClassName, class_words, distinct, first
from recognition.vocabulary import check_read

PART = Towers
PUBLISHED = {"imagenet80": open_clip.OPENAI_IMAGENET_TEMPLATES, "imagenet7": open_clip.SIMPLE_IMAGENET_TEMPLATES}
Template = str | Callable[[str], str]  # with one {} for the name, or a function of it (open_clip's published lists)
Labels = dict[str, tuple[Sequence[ClassName], Tensor]]  # question -> its classes, and that of each image, int64 [N]


def run(cfg: Config, towers: Towers) -> Outcome:
    """Zero-shot classification of a test set.

    Args:
        cfg: data and questions, name -> {"classes": words, "templates": see `prompts`, or a name in PUBLISHED}. Data of
            kind "attributes" state root, and labels, the file below it that names images and their words for each
            question. Of kind "image_folder", with a folder per class below root, and kind "image_list", see
            `listed_images`, one question is asked, its classes as in `class_words`.
        towers: of the checkpoint.

    Returns: top1 and mean_per_class, the means over the questions, and top5 of a single question of more than five
    classes; of several questions also <question>_top1, <question>_mean_per_class and <question>_top5.

    Raises:
        UserError: a test set that cannot be read, an image whose word is none of the classes, fewer than two classes,
            or classes that are all one to the text tower.
    """
    files, labels = (by_words if cfg.data.kind == "attributes" else by_folder)(cfg.data, cfg.questions)
    classes = {}
    for name, (words, _) in labels.items():
        asked = prompts(words, published(cfg.questions[name]["templates"]))
        if len(words) < 2:
            raise UserError(
                f"question {name!r} has one class, {words[0]!r}: there is nothing to tell apart; add another"
            )
        check_read(towers, dict(zip(map(first, words), asked, strict=True)), f"question {name!r}")
        classes[name] = class_embeddings(towers.embed_texts, asked)
    images = towers.embed_images(map(read_rgb, tqdm(files, desc="images", unit="img", leave=False)))
    answers = {
        name: Answer(top_classes(images, classes[name], 5), truth, len(words))
        for name, (words, truth) in labels.items()
    }
    weights = resamples(len(images))
    found = accuracies([*answers.values()], weights)
    if len(answers) > 1:
        for name, answer in answers.items():
            found += accuracies([answer], weights, f"{name}_")
    return Outcome(found)


def by_words(data: Mapping[str, Any], questions: Mapping[str, Any]) -> tuple[list[Path], Labels]:
    """Images of kind "attributes" and their labels. UserError names an image that has none of a question's words."""
    entries, labels = attribute_images(data["root"], data["labels"]), {}
    for name, asked in questions.items():
        place = {word: number for number, word in enumerate(distinct(asked["classes"]))}
        for file, words in entries:
            if words.get(name) not in place:
                raise UserError(f"{file}: its {name} is {words.get(name)!r}, which is none of {', '.join(place)}")
        labels[name] = [*place], torch.tensor([place[words[name]] for _, words in entries])
    return [file for file, _ in entries], labels


def by_folder(data: Mapping[str, Any], questions: Mapping[str, Any]) -> tuple[list[Path], Labels]:
    """Images with one label each, and the labels. UserError for several questions, or an empty class of a known set."""
    if len(questions) != 1:
        raise UserError(f"{data['root']} has one label per image: ask one question, not {len(questions)}")
    listed, folders = listed_images(data) if data["kind"] == "image_list" else folder_images(data["root"])
    numbers = torch.tensor([number for _, number in listed])
    ((question, asked),) = questions.items()
    if ("classes" in asked or "count" in asked) and len(numbers.unique()) < len(folders):
        empty = next(folder for number, folder in enumerate(folders) if number not in numbers)
        raise UserError(f"{data['root']}: the class folder {empty!r} holds no image: complete the test set")
    return [file for file, _ in listed], {question: (class_words(folders, asked, str(data["root"])), numbers)}


def published(templates: str | Sequence[str]) -> Sequence[Template]:
    """The templates of a published list where one is named, else those given. UserError for an unknown name."""
    if isinstance(templates, str) and templates not in PUBLISHED:
        raise UserError(f"unknown templates {templates!r}: give a list, or one of {', '.join(PUBLISHED)}")
    return PUBLISHED[templates] if isinstance(templates, str) else templates


def prompts(names: Sequence[ClassName], templates: Sequence[Template]) -> list[list[str]]:
    """The prompts of each class; one of several names is asked for by all of them (facebookresearch/SLIP).

    Raises:
        UserError: no class, no template, or a template without a place for the name.
    """
    if not names or not templates:
        raise UserError("zero-shot classification needs at least one class name and one template: give both")
    if plain := [template for template in templates if isinstance(template, str) and "{}" not in template]:
        raise UserError(f"the template {plain[0]!r} has no {{}} where the class name goes: add it")
    return [[fill(template, name) for name in ([one] if isinstance(one, str) else one) for template in templates]
            for one in names]  # fmt: skip


def fill(template: Template, name: str) -> str:
    """A template's prompt for a name. UserError for a template with other places than {}."""
    if not isinstance(template, str):
        return template(name)
    try:
        return template.format(name)
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(f"the template {template!r} has more than a {{}} for the class name ({error!r})") from None


def class_embeddings(embed_texts: Callable[[list[str]], Tensor], asked: Sequence[Sequence[str]]) -> Tensor:
    """The prompts of each class -> class embeddings [C, E] of unit length.

    Args:
        embed_texts: texts -> embeddings [N, E] of unit length.
        asked: from `prompts`.
    """
    embeddings = embed_texts([prompt for of_class in asked for prompt in of_class])
    means = [part.mean(dim=0) for part in embeddings.split([len(of_class) for of_class in asked])]
    return F.normalize(torch.stack(means), dim=-1)


def top_classes(images: Tensor, classes: Tensor, count: int) -> Tensor:
    """The `count` nearest classes of each image, best first; of equally near ones the earlier class.

    Args:
        images: [N, E] and classes: [C, E], of unit length.

    Returns: class indices [N, min(count, C)].
    """
    return (images @ classes.T).argsort(dim=1, descending=True, stable=True)[:, :count]
