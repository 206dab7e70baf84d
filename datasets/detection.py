"""COCO-format detection data with checks that name the fault."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

from engine.errors import UserError

NEEDED = ("id", "image_id", "category_id", "bbox", "area", "segmentation")  # of every annotation


@DATASETS.register_module()
class CocoFolder(CocoDataset):
    """mmdet's CocoDataset for any COCO JSON with instance masks and its image folder.

    Raises:
        UserError: the JSON is missing or damaged, an image is missing, the classes asked for are not the file's or
            stand in another order, or an annotation is not whole or names what is not there.
    """

    def load_data_list(self) -> list[dict]:
        """Check the annotation file, then let mmdet read it."""
        path = Path(self.ann_file)
        content = read_annotations(path)
        check_categories(path, content["categories"], self.metainfo["classes"])
        check_annotations(path, content)
        folder = Path(self.data_prefix["img"])
        names = [image["file_name"] for image in content["images"]]
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise UserError(
                f"{len(absent)} of {len(names)} images of {path} are not in {folder}, first {absent[0]}: check root "
                "and images of the data section"
            )
        return super().load_data_list()


def read_annotations(path: Path) -> dict[str, Any]:
    """Return the content of a COCO file, with at least the lists and their keys that mmdet reads."""
    try:
        content = json.loads(path.read_text())
        for category in content["categories"]:
            category["id"], category["name"]
        for image in content["images"]:
            image["id"], image["file_name"], image["height"], image["width"]
        if not all(isinstance(annotation, dict) for annotation in content["annotations"]):
            raise TypeError("an annotation is no object")
    except FileNotFoundError:
        raise UserError(f"there is no annotation file {path}: check root and annotations of the data section") from None
    except (ValueError, KeyError, TypeError) as error:  # ValueError: neither JSON nor text
        raise UserError(f"{path} is not a COCO annotation file ({error!r}): is it whole?") from None
    return content


def check_categories(path: Path, categories: Sequence[dict], classes: Sequence[str]) -> None:
    """Refuse classes that the file lacks, and another order: mmdet numbers the classes in the order of each file."""
    known = [category["name"] for category in categories]
    missing = sorted(set(classes) - set(known))
    if missing:
        raise UserError(f"{path} has no category {missing}; it has {known}: correct classes in the data section")
    order = [name for name in known if name in classes]
    if order != list(classes):
        raise UserError(
            f"{path} lists its categories in the order {order}, but the classes are {list(classes)}: state classes in "
            "that order in the data section; every split's file needs the same"
        )


def check_annotations(path: Path, content: dict[str, Any]) -> None:
    """Refuse the first of `annotation_faults`."""
    for _, sentence in annotation_faults(path, content):
        raise UserError(sentence)


def annotation_faults(path: Path, content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(what, sentence) of each annotation without box or mask, given twice, or of a category or image not listed."""
    categories = {category["id"] for category in content["categories"]}
    images = {image["id"] for image in content["images"]}
    seen = set()
    for place, annotation in enumerate(content["annotations"]):
        lacking = [key for key in NEEDED if annotation.get(key) in (None, [])]
        if lacking:
            name = annotation.get("id", f"number {place}")
            sentence = f"{path}: annotation {name} has no {' and no '.join(lacking)}: complete or remove it"
            yield "annotation that is not whole", sentence
            continue
        name = f"{path}: annotation {annotation['id']}"
        if annotation["id"] in seen:
            yield "annotation given twice", f"{name} occurs twice: give every annotation an id of its own"
        seen.add(annotation["id"])
        if annotation["category_id"] not in categories:
            sentence = f"{name} has category id {annotation['category_id']}, known are {sorted(categories)}: correct it"
            yield "annotation of an unknown category", f"{sentence} or add the category"
        if annotation["image_id"] not in images:
            sentence = f"{name} is of image id {annotation['image_id']}, which the file does not list: remove it"
            yield "annotation of an unknown image", sentence
