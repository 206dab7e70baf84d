"""Boxes and masks in COCO's format: COCO 2017 and a user's own."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets.detection import annotation_faults, check_categories, read_annotations
from datasets.parallel import each
from datasets.prepare.findings import Findings
from datasets.prepare.images import sizes_text, try_size
from datasets.prepare.job import Plan, paper_plan
from datasets.prepare.layouts import link_trees
from datasets.prepare.place import OVERLAY, Place
from datasets.sections import SPLITS
from engine.errors import UserError

LINKS = ("images/{split}", "annotations/{split}.json")
LAYOUTS = tuple(
    (images, labels)
    for labels in ("annotations/instances_{split}.json", "annotations/{split}.json", "{split}.json",
                   "{split}/_annotations.coco.json")
    for images in ("{split}", "images/{split}", "images")
)  # fmt: skip
COCO = {"train2017": 118_287, "val2017": 5_000}
ORIGIN = (
    "COCO's download page: 2017 Train images, 2017 Val images, 2017 Train/Val annotations; unpack the three into one "
    "folder"
)
BEYOND = 1.0  # pixels by which a box may leave its image before it is mentioned: rounding


def coco(place: Place, options: dict[str, Any]) -> Plan:
    """COCO 2017's training and validation images with their instance annotations."""
    layouts = [("{split}", LAYOUTS[0][1]), ("images/{split}", LAYOUTS[0][1])]
    names = {"splits": ["train2017", "val2017", "val2017"]}
    try:
        _, done = link_trees(place, layouts, names, *layouts[0])
    except UserError as error:
        raise UserError(f"{error}; the data come from {ORIGIN}") from None
    command = "python tools/train.py det_configs/mask_rcnn_mae.py --scale paper --amp"
    plan = paper_plan(place, "det_configs/_base_/scale_paper.py", command, done)
    plan.check = lambda findings: {"classes": check_coco(plan.data, findings, COCO)}
    return plan


def coco_format(place: Place, options: dict[str, Any]) -> Plan:
    """A user's own COCO files and image folders."""
    splits, done = link_trees(place, LAYOUTS, options, *LINKS)
    size = tuple(options.get("size") or (256, 256))
    data = {"name": place.name, "kind": "coco", "root": str(place.out), "annotations": LINKS[1], "images": LINKS[0],
            "splits": splits, "size": size}  # fmt: skip

    def check(findings: Findings) -> dict[str, Any]:
        return {"classes": check_coco(data, findings)}

    command = f"python tools/train.py det_configs/mask_rcnn_random.py --data {place.out / OVERLAY}"
    remarks = "`size` is what images are scaled to fit, small for first trials; `classes` may name some of them."
    return Plan(check, data, command, overlay=True, remarks=remarks, done=done)


def check_coco(data: dict[str, Any], findings: Findings, published: dict[str, int] | None = None) -> tuple[str, ...]:
    """Check files, images and annotations of every split; returns the class names in the training file's order.

    Args:
        data: a data section of kind "coco". published: split -> number of images; broken masks are then only noted.
    """
    classes = data.get("classes")
    for split in dict.fromkeys({**SPLITS, **data["splits"]}.values()):
        path = Path(data["root"], data["annotations"].format(split=split))
        folder = Path(data["root"], data["images"].format(split=split))
        try:
            content = read_annotations(path)
        except UserError as error:
            findings.problem("annotation file that cannot be used", str(error))
            continue
        train = classes is None or split == data["splits"]["train"]
        classes = classes or tuple(category["name"] for category in content["categories"])
        check_names(path, content, classes, findings)
        findings.count(split, "images", len(content["images"]), (published or {}).get(split))
        findings.count(split, "objects", len(content["annotations"]))
        check_images(split, path, folder, content["images"], findings)
        usable = check_objects(path, content, findings, broken=findings.note if published else findings.problem)
        if train:
            check_training(path, content, usable, classes, findings)
        findings.sample.append(str(path))
    if classes:
        findings.lines.append(("classes", f"{len(classes)}: {', '.join(classes[:6])}{', ...' if classes[6:] else ''}"))
    return tuple(classes or ())


def check_names(path: Path, content: dict[str, Any], classes: Sequence[str], findings: Findings) -> None:
    """Categories: the same in each split's file, in the same order, each id and name once."""
    try:
        check_categories(path, content["categories"], classes)
    except UserError as error:
        findings.problem("categories that differ between files", str(error))
    for key in ("id", "name"):
        for value, count in Counter(category[key] for category in content["categories"]).items():
            if count > 1:
                findings.problem(
                    "category given twice", f"{path}: {key} {value!r} stands there {count} times; keep one"
                )


def check_images(split: str, path: Path, folder: Path, images: Sequence[dict[str, Any]], findings: Findings) -> None:
    """Is each image there, whole, of the size that the file states, and listed once?"""
    for value, count in Counter(image["id"] for image in images).items():
        if count > 1:
            findings.problem("image id given twice", f"{path}: image id {value} stands there {count} times; keep one")
    present = []
    for image in images:
        if (folder / image["file_name"]).is_file():
            present.append(image)
        else:
            findings.problem("missing image", f"{folder / image['file_name']}: listed in {path}, but not there")
    files = [str(folder / image["file_name"]) for image in present]
    sizes = []
    for image, size in zip(present, each(try_size, files, f"check {split}"), strict=True):
        if isinstance(size, str):
            findings.problem("unreadable or truncated image", size)
            continue
        sizes.append(size)
        if size != (image["height"], image["width"]):
            stated = f"{path} says {image['width']}x{image['height']}: correct it, its boxes belong to other pixels"
            sentence = f"{folder / image['file_name']} is {size[1]}x{size[0]}, {stated}"
            findings.problem("image of another size than its file says", sentence)
    if sizes:
        findings.lines.append((f"{split} sizes", sizes_text(sizes)))
    findings.take_sample(files)


def check_objects(
    path: Path, content: dict[str, Any], findings: Findings, broken: Callable[[str, str], None]
) -> Counter:
    """Check the annotations one by one; returns how many usable ones each category id has.

    Args:
        broken: findings.problem or findings.note, called for an object without a whole mask.
    """
    for fault in annotation_faults(path, content):
        findings.problem(*fault)
    images = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    usable: Counter = Counter()
    for annotation in content["annotations"]:
        size = images.get(annotation.get("image_id"))
        if size is None or annotation.get("bbox") is None:
            continue  # already named
        name = f"{path}: annotation {annotation.get('id')}"
        box = annotation["bbox"]
        if not numbers(box) or len(box) != 4:
            findings.problem("broken box", f"{name} has the box {box}: give [x, y, width, height] in pixels")
            continue
        x, y, width, height = box
        inside = min(x + width, size[1]) - max(x, 0), min(y + height, size[0]) - max(y, 0)
        if min(width, height) < 1 or min(inside) <= 0:
            findings.note("box without area in its image, left out", f"{name}: {box} in {size[1]}x{size[0]}")
            continue
        if min(x, y) < -BEYOND or x + width > size[1] + BEYOND or y + height > size[0] + BEYOND:
            findings.note("box that reaches beyond its image", f"{name}: {box} in {size[1]}x{size[0]}")
        if annotation.get("segmentation"):
            fault = mask_fault(annotation["segmentation"], size)
            if fault:
                broken("object without a whole mask", f"{name}: {fault}")
                continue
        usable[annotation.get("category_id")] += not annotation.get("iscrowd")
    return usable


def check_training(
    path: Path, content: dict[str, Any], usable: Counter, classes: Sequence[str], findings: Findings
) -> None:
    """Something to learn for every class?"""
    if not usable.total():
        findings.problem("nothing to learn", f"{path} has no usable object")
        return
    absent = [c["name"] for c in content["categories"] if c["name"] in classes and not usable[c["id"]]]
    if absent:
        findings.note("class without a training object", ", ".join(absent[:8]) + (", ..." if absent[8:] else ""))
    empty = len(content["images"]) - len({annotation.get("image_id") for annotation in content["annotations"]})
    if empty > 0:
        findings.note("images without any object", f"{empty:,} of {path}")


def numbers(values: Any) -> bool:
    """A list of finite numbers?"""
    return isinstance(values, list) and all(isinstance(v, int | float) and math.isfinite(v) for v in values)


def mask_fault(mask: Any, size: tuple[int, int]) -> str | None:
    """What is wrong with a segmentation of an image of `size` (height, width); None if it can be used.

    Polygons are [[x, y, x, y, ...], ...] with at least three corners; one whole polygon is enough. A run-length mask
    is {"size": [height, width], "counts": list or string}.
    """
    if isinstance(mask, list):
        whole = [polygon for polygon in mask if numbers(polygon) and len(polygon) >= 6 and len(polygon) % 2 == 0]
        return None if whole else "no polygon of three corners or more as [x, y, x, y, ...]"
    if not isinstance(mask, dict) or "counts" not in mask or "size" not in mask:
        return "neither polygons nor a run-length mask with size and counts"
    counts = mask["counts"]
    if not numbers(mask["size"]) or not (isinstance(counts, str) or numbers(counts)):
        return "a run-length mask whose size and counts are not numbers"
    if mask["size"] != list(size):
        return f"a run-length mask of {mask['size']} for an image of {list(size)} (height, width)"
    if isinstance(counts, list) and sum(counts) != size[0] * size[1]:
        return f"run lengths that add up to {sum(counts)}, not to {size[0] * size[1]} pixels"
    return None
