"""COCO annotation files: what they hold, what is mended by rule, and what forbids training.

The trainer (mmdet) and the evaluator (pycocotools) read such a file differently, and both take much on trust. Here it
is brought to a form that both read alike, in which perfect predictions score 100; docs/data.md lists the rules.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.headers import Header
from datasets.objects import Checked, check_fit, keep_usable
from engine.errors import UserError
from engine.json_text import parse

NEEDED = ("id", "image_id", "category_id", "bbox", "segmentation")  # of every annotation
STATED = {"categories": ("id", "name"), "images": ("id", "file_name", "height", "width")}
LARGEST_ID = 2**53  # pycocotools keeps ids as floats


def read_annotations(path: Path) -> dict[str, Any]:
    """Return the content of a COCO file, with at least the lists and their keys that mmdet reads."""
    try:
        content = parse(path.read_text())
        for part, keys in STATED.items():
            for entry in content[part]:
                if not isinstance(entry, dict):
                    raise TypeError(f"one of its {part} is no object")
                if lacking := [key for key in keys if key not in entry]:
                    named = entry.get("file_name", entry.get("name", entry.get("id")))
                    raise UserError(f"{path} is not a COCO annotation file (of its {part}, {named!r} states no "
                                    f"{' and no '.join(lacking)}): is it whole?")  # fmt: skip
        names = [c["name"] for c in content["categories"]] + [i["file_name"] for i in content["images"]]
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name is no text")
        if not all(isinstance(annotation, dict) for annotation in content["annotations"]):
            raise TypeError("an annotation is no object")
    except FileNotFoundError:
        raise UserError(f"there is no annotation file {path}: check root and annotations of the data section") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:  # ValueError: neither JSON nor text
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


def check_annotations(path: Path, content: dict[str, Any], headers: Mapping[str, Header | str]) -> Checked:
    """Check a file's content and mend it by rule.

    Args:
        path: of the file, for messages.
        content: of `read_annotations`; it is changed.
        headers: file name -> header of its image, or the sentence that says why it cannot be read; names that are not
            there have no image file.
    """
    found = Checked(path, content)
    take_whole_ids(found, content)
    categories = number_anew(found, content["categories"], "category")
    images = number_anew(found, content["images"], "image")
    check_names(found, content)
    sizes = {image["id"]: image_size(found, image, headers) for image in content["images"] if _is_id(image["id"])}
    objects = [a for place, a in enumerate(content["annotations"]) if is_whole(found, place, a, categories, images)]
    number_objects(found, objects)
    usable = keep_usable(found, objects, sizes)
    check_fit(found, usable)
    kept = [annotation for annotation, _ in usable]
    found.mended |= len(kept) < len(content["annotations"])
    content["annotations"] = kept
    if not any(not annotation["iscrowd"] for annotation in kept):
        found.fault("split without an object", "holds no object that counts, so nothing can be learnt or scored: "
                    "annotate its images, or choose another split")  # fmt: skip
    return found


def _is_id(value: Any) -> bool:
    return type(value) is int and abs(value) < LARGEST_ID


def take_whole_ids(found: Checked, content: dict[str, Any]) -> None:
    """Ids that are whole numbers with a point, as tables write them, become whole numbers."""
    written = 0
    for part in (*STATED, "annotations"):
        for entry in content[part]:
            for key in ("id", "category_id", "image_id"):
                value = entry.get(key)
                if type(value) is float and value.is_integer():
                    entry[key], written = int(value), written + 1
    if written:
        found.note("ids with a point", f"{written:,} ids are written like 1.0 and taken as whole numbers")


def number_anew(found: Checked, entries: list[dict], what: str) -> dict[Any, int]:
    """Check the ids of images or categories; number them from 1 where they are no whole numbers.

    Returns: what an annotation may name them by -> id.
    """
    ids = [entry["id"] for entry in entries]
    if not all(type(value) in (int, str) for value in ids):
        wrong = next(value for value in ids if type(value) not in (int, str))
        found.fault(f"{what} id of a wrong type", f"{what} id {wrong!r} is no whole number: correct it")
        return {}
    for value, count in Counter(ids).items():
        if count > 1:
            found.fault(f"{what} id given twice", f"{what} id {value!r} stands there {count} times; keep one")
    if all(map(_is_id, ids)):
        return {value: value for value in ids}
    for number, entry in enumerate(entries, start=1):
        entry["id"] = number
    found.note(f"{what} ids numbered anew", f"the ids of {what} are no whole numbers, so they are counted from 1")
    return {value: number for number, value in enumerate(ids, start=1)}


def check_names(found: Checked, content: dict[str, Any]) -> None:
    """Categories and image files: each name once, and at least one category."""
    for entries, key, what in ((content["categories"], "name", "category"), (content["images"], "file_name", "image")):
        for name, count in Counter(entry[key] for entry in entries).items():
            if count > 1:
                found.fault(f"{what} given twice", f"{key} {name!r} stands there {count} times; keep one")
    if not content["categories"]:
        found.fault("no category", "lists no category: add the classes' names")


def image_size(found: Checked, image: dict, headers: Mapping[str, Header | str]) -> tuple[tuple[int, int], int] | None:
    """(height, width) that an image's annotations were drawn on, and the orientation that turns them; None if unknown.

    An image whose stated size is that of the stored pixels, before EXIF's orientation turns them, gets the size that it
    is shown in.
    """
    name, size = image["file_name"], (image["height"], image["width"])
    header = headers.get(name)
    if not all(type(side) is int and side > 0 for side in size):
        found.fault("image without a size", f"image {name} has the height and width {size}: state its pixels")
    elif header is None:
        found.fault("missing image", f"its image {name} is not there: check root and images of the data section")
    elif isinstance(header, str):
        found.faults.append(("unreadable or truncated image", header))
    elif size == header.shown:
        return size, 1
    elif size == header.size:
        image["height"], image["width"] = header.shown
        found.note("annotations turned with their image", f"those of {name}, drawn as it is stored")
        return size, header.orientation
    else:
        stated = f"the file says {size[1]}x{size[0]}: correct it, its boxes belong to other pixels"
        shown = f"{header.shown[1]}x{header.shown[0]}"
        found.fault("image of another size than its file says", f"image {name} is {shown}, {stated}")
    return None


def is_whole(found: Checked, place: int, annotation: dict, categories: Mapping, images: Mapping) -> bool:
    """Has an annotation all that is needed, of a category and image that are listed? Their ids become those listed."""
    lacking = [key for key in NEEDED if annotation.get(key) is None or annotation[key] == []]
    name = f"annotation {annotation.get('id', f'number {place}')}"
    if lacking:
        sentence = f"{name} has no {' and no '.join(lacking)}: complete or remove it"
        found.fault("annotation that is not whole", sentence)
        return False
    category, image = (_known(annotation[key], known) for key, known in
                       (("category_id", categories), ("image_id", images)))  # fmt: skip
    if category is None:
        known = ", ".join(sorted(map(repr, categories))[:12])
        sentence = f"{name} has category id {annotation['category_id']!r}, known are {known}: correct it"
        found.fault("annotation of an unknown category", f"{sentence} or add the category")
    if image is None:
        sentence = f"{name} is of image id {annotation['image_id']!r}, which the file does not list: correct it"
        found.fault("annotation of an unknown image", f"{sentence} or remove it")
    if category is None or image is None:
        return False
    annotation["category_id"], annotation["image_id"] = category, image
    return True


def _known(value: Any, known: Mapping[Any, int]) -> int | None:
    return known.get(value) if type(value) in (int, str) else None


def number_objects(found: Checked, objects: Sequence[dict]) -> None:
    """Refuse an id given twice; number all from 1 where one is below 1, which evaluators take for "no match"."""
    ids = [annotation["id"] for annotation in objects]
    for value, count in Counter(map(repr, ids)).items():
        if count > 1:
            sentence = f"annotation {value} occurs twice" if count == 2 else f"annotation {value} occurs {count} times"
            found.fault("annotation given twice", f"{sentence}: give every annotation an id of its own")
    if not all(_is_id(value) and value > 0 for value in ids):
        for number, annotation in enumerate(objects, start=1):
            annotation["id"] = number
        why = "an annotation's id is below 1, which the evaluator takes for none, or no whole number"
        found.note("annotations numbered anew", f"{why}; all are counted from 1")


def by_kind(entries: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """(kind, sentence) -> kind -> its sentences."""
    found = defaultdict(list)
    for kind, sentence in entries:
        found[kind].append(sentence)
    return dict(found)
