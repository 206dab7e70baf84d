"""Labelled images: a folder per class, a publisher's own list, or a JSON file of words."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.images import IMAGE_SUFFIXES, is_image
from engine.errors import UserError
from engine.json_text import parse


def attribute_images(root: str | Path, file: str) -> list[tuple[Path, dict[str, str]]]:
    """The images that a JSON file names: {"images": [{"file": path below root, NAME: word, ...}, ...]}.

    Returns: (image file, {NAME: word}) of each.

    Raises:
        UserError: no such file, or one of another form.
    """
    path = Path(root, file)
    try:
        entries = parse(path.read_text())["images"]
        found = [(Path(root, entry["file"]), {k: v for k, v in entry.items() if k != "file"}) for entry in entries]
    except OSError as error:
        raise UserError(f"labels {path} cannot be read ({error.strerror}): check root and labels") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} lists no images with file and labels ({error!r}): see datasets/class_folders.py"
        ) from None
    if not found:
        raise UserError(f"{path} lists no image: check root and labels")
    return found


def subfolders(root: str | Path) -> list[str]:
    """The names of the folders in `root`, sorted; hidden ones (.ipynb_checkpoints) are nobody's class.

    Raises:
        UserError: there is no such folder, or it cannot be read.
    """
    try:
        return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"there is no folder of classes {root} ({error.strerror}): check root and split") from None


def images_in(folder: str | Path) -> list[Path]:
    """The image files of a folder, sorted by name. UserError if it cannot be read."""
    try:
        return [Path(folder, name) for name in sorted(os.listdir(folder)) if is_image(name)]
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read ({error.strerror})") from None


def class_names(root: str | Path) -> list[str]:
    """The names of a folder's class folders, sorted. UserError if there is no such folder, or a single class in it."""
    names = subfolders(root)
    if len(names) == 1:
        raise UserError(f"{root} has one class folder, {names[0]!r}: there is nothing to tell apart; add another class")
    return names


def folder_images(root: str | Path, to_learn: bool = False) -> tuple[list[tuple[Path, int]], list[str]]:
    """A folder per class -> ((image file, class) of each image, class names), both in the order of the names.

    Args:
        root: of the class folders.
        to_learn: whether classes are learnt from them, so that none may be without an image.

    Raises:
        UserError: no such folder, or one without a class folder that holds an image, or an empty one `to_learn` from.
    """
    root, names = Path(root), class_names(root)
    found = [(path, number) for number, name in enumerate(names) for path in images_in(root / name)]
    if not found:
        raise UserError(
            f"{root} has no class folder with images of type {', '.join(IMAGE_SUFFIXES)}: check root and split"
        )
    if to_learn and (empty := set(range(len(names))).difference(number for _, number in found)):
        raise UserError(
            f"{root}: the class folder {names[min(empty)]!r} holds no image to learn from: fill it or remove it"
        )
    return found, names


def listed_images(data: Mapping[str, Any]) -> tuple[list[tuple[Path, int]], list[str]]:
    """A publisher's own list of test images -> ((image file, class) of each image, class folders), in their order.

    Args:
        data: kind "image_list": root, and list, a text file below it whose lines begin with an image ("#" begins a
            remark). images says where that is below root, "{}" by default; label is a regular expression, whose group
            in the line's word is the class: the folder, by default.

    Raises:
        UserError: a list that cannot be read or is empty, or an image whose class is not in its name.
    """
    path, label = Path(data["root"], data["list"]), re.compile(data.get("label", r"(.+)/[^/]+"))
    try:
        words = [line.split()[0] for line in path.read_text().splitlines() if line.strip() and line[0] != "#"]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the list {path} cannot be read ({error}): check root and list") from None
    matched = [label.fullmatch(word) for word in words]
    if not words or None in matched:
        what = f"{words[matched.index(None)]!r} does not fit {label.pattern!r}" if words else "it is empty"
        raise UserError(f"the list {path} names no images by their classes ({what}): check list and label")
    names = sorted({match[1] for match in matched})
    place = {name: number for number, name in enumerate(names)}
    pattern = data.get("images", "{}")
    return [(Path(data["root"], pattern.format(match[0])), place[match[1]]) for match in matched], names


def train_and_test(
    data: Mapping[str, Any], what: str
) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]], list[str]]:
    """Training and test images of a data section of kind "image_folder", and class names; see `folder_images`.

    Args:
        data: with train and test, each a folder with a folder per class.
        what: needs them, for the message.

    Raises:
        UserError: another kind, folders that cannot be read, or whose classes differ.
    """
    if data["kind"] != "image_folder":
        raise UserError(f"{what} needs data of kind 'image_folder', not {data['kind']!r}")
    (train, names), (test, others) = folder_images(data["train"], to_learn=True), folder_images(data["test"])
    if names != others:
        raise UserError(f"{data['train']} and {data['test']} have other class folders: make them the same")
    return train, test, names
