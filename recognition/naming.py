"""From the folders of a test set to the names that its classes are asked for by.

A question without class names asks for the folders' own names, "_" and "/" read as spaces. One that states them finds
each class by the folder of its name, or by an alias that the question gives for the folder: by the very name, or else
whatever the case, spaces, hyphens, underscores and marks of writing, where that leaves it the name of one class alone.
Signs are part of a name: "C", "C++" and "C#" are three classes.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import open_clip
from timm.data import ImageNetInfo

from engine.errors import UserError, some

WRITING = re.compile(r"[\s_'’.,()/]")  # marks that write a name and tell no two apart
HYPHEN = re.compile(r"(?<=\w)[-‐–](?=\w)")  # at the edge of a name it is a sign: "A-"
ClassName = str | Sequence[str]  # a class may have several names, which are averaged like templates


def class_words(folders: Sequence[str], asked: Mapping[str, Any], place: str) -> list[ClassName]:
    """The name, or names, of the class in each folder.

    Args:
        folders: their names, or paths below the set's.
        asked: the question. Its `classes` are names, or "imagenet" for those of ImageNet-1K, whose folders are WordNet
            ids; `aliases` gives the class of folders that are called otherwise, {folder: class}; `count` is how many
            classes a set has whose names are the folders', or that shows a part of ImageNet's. All are optional.
        place: of the folders, for messages.

    Raises:
        UserError: folders and classes that do not match one to one, or a name that stands for two classes.
    """
    classes = asked.get("classes")
    count = asked.get("count")
    if count not in (None, len(folders)):
        raise UserError(f"{place} holds {len(folders)} class folders, not {count}: complete the test set")
    if classes is None:
        return distinct([re.sub("[_/]", " ", folder) for folder in folders])
    if classes == "imagenet":
        # as published: two of the names stand for two classes each
        keys, classes = ImageNetInfo().label_names(), open_clip.IMAGENET_CLASSNAMES
    elif isinstance(classes, str):
        raise UserError(f"unknown classes {classes!r}: give a list of names, or 'imagenet'")
    else:
        keys = [first(name) for name in distinct(classes)]
    named = [(name, k) for k, name in enumerate(keys)]
    number = finder(named)
    for folder, name in asked.get("aliases", {}).items():
        if number(name) is None:
            raise UserError(f"alias {folder!r} stands for {name!r}, which is none of the classes: correct it")
        named.append((folder, number(name)))
    found = [*map(finder(named), folders)]
    if strange := [folder for folder, k in zip(folders, found, strict=True) if k is None]:
        raise UserError(
            f"{place}: {some(map(repr, strange))} stands for no class of the set: name folders as the set does"
        )
    if count is None and (lacking := [name for k, name in enumerate(keys) if k not in found]):
        raise UserError(f"{place} has no folder for {some(map(repr, lacking))}: complete the test set")
    if len(found) > len(set(found)):
        twice = [folder for folder, k in zip(folders, found, strict=True) if found.count(k) > 1]
        raise UserError(f"{place}: {some(map(repr, twice))} stand for one class: join them")
    return [classes[k] for k in found]


def distinct(names: Sequence[ClassName]) -> Sequence[ClassName]:
    """The names, if no two are the same."""
    if repeated := [name for k, name in enumerate(names) if name in names[:k]]:
        raise UserError(f"the class name {repeated[0]!r} is given twice: name each class by words of its own")
    return names


def first(name: ClassName) -> str:
    """The first name of a class."""
    return name if isinstance(name, str) else name[0]


def finder(named: Iterable[tuple[str, int]]) -> Callable[[str], int | None]:
    """(name, class) of all names -> what finds a folder's class: by the very name, else by a `key` of one class."""
    forms: tuple[Callable[[str], str], ...] = (str, key)
    classes: list[dict[str, set[int]]] = [defaultdict(set) for _ in forms]
    for name, number in named:
        for form, known in zip(forms, classes, strict=True):
            known[form(name)].add(number)

    def find(folder: str) -> int | None:
        for form, known in zip(forms, classes, strict=True):
            if len(of_form := known.get(form(folder), ())) == 1:
                return [*of_form][0]
        return None

    return find


def key(name: str) -> str:
    """A name in lower case and composed letters, without what only writes it."""
    text = unicodedata.normalize("NFC", name).casefold()
    return HYPHEN.sub("", WRITING.sub("", text))
