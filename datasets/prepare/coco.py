"""Boxes and masks in COCO's format: COCO 2017 and a user's own."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.annotations import check_annotations, check_categories, read_annotations
from datasets.checked_annotations import read_headers
from datasets.headers import Header
from datasets.limits import limits_of
from datasets.parallel import each
from datasets.prepare.findings import Findings
from datasets.prepare.images import Look, sizes_text, try_look
from datasets.prepare.job import Plan, paper_plan
from datasets.prepare.layouts import link_trees
from datasets.prepare.place import Place
from datasets.prepare.twins import compare_splits
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

    command = "python tools/train.py det_configs/mask_rcnn.py --encoder random"
    remarks = "`size` is what images are scaled to fit, small for first trials; `classes` may name some of them."
    return Plan(check, data, command, overlay=True, remarks=remarks, done=done)


def check_coco(data: dict[str, Any], findings: Findings, published: dict[str, int] | None = None) -> tuple[str, ...]:
    """Check files, images and annotations of every split; returns the class names in the training file's order.

    Args:
        data: a data section of kind "coco". published: split -> number of images.
    """
    classes, images = data.get("classes"), {}
    splits = list(dict.fromkeys({**SPLITS, **data["splits"]}.values()))
    for split in splits:
        path = Path(data["root"], data["annotations"].format(split=split))
        folder = Path(data["root"], data["images"].format(split=split))
        try:
            content = read_annotations(path)
        except UserError as error:
            findings.problem("annotation file that cannot be used", str(error))
            continue
        classes = classes or tuple(category["name"] for category in content["categories"])
        try:
            check_categories(path, content["categories"], classes)
        except UserError as error:
            findings.problem("categories that differ between files", str(error))
        findings.count(split, "images", len(content["images"]), (published or {}).get(split))
        findings.count(split, "objects", len(content["annotations"]))
        headers, images[split] = check_images(split, folder, content["images"], findings)
        found = check_annotations(path, content, headers)
        for fault in found.faults:
            findings.problem(*fault)
        for note in found.notes:
            findings.note(*note)
        if not found.faults:  # they may be in what classes are counted by
            check_classes(path, content, classes, findings)
            if split == data["splits"].get("train", "train") and not published:
                findings.lines.append(("detector", str(limits_of(content, classes))))
        findings.sample.append(str(path))
    compare_splits(images, splits[0], findings)
    if classes:
        findings.lines.append(("classes", f"{len(classes)}: {', '.join(classes[:6])}{', ...' if classes[6:] else ''}"))
    return tuple(classes or ())


def check_images(
    split: str, folder: Path, images: Sequence[dict[str, Any]], findings: Findings
) -> tuple[dict[str, Header | str], list[tuple[str, Look]]]:
    """Is each image that is there whole? Returns the headers that `check_annotations` needs, and the images."""
    names = [name for name in dict.fromkeys(image["file_name"] for image in images) if os.path.isfile(folder / name)]
    headers = read_headers(folder, names)
    good = [str(folder / name) for name in names if not isinstance(headers[name], str)]
    looks = []
    for path, look in zip(good, each(try_look, good, f"check {split}"), strict=True):
        if isinstance(look, str):
            findings.problem("unreadable or truncated image", look)
        else:
            looks.append((path, look))
    if looks:
        findings.lines.append((f"{split} sizes", sizes_text([look.size for _, look in looks])))
    findings.take_sample(good)
    return headers, looks


def check_classes(path: Path, content: dict[str, Any], classes: Sequence[str], findings: Findings) -> None:
    """What classes and images have no object, after `check_annotations`."""
    counted = Counter(annotation["category_id"] for annotation in content["annotations"] if not annotation["iscrowd"])
    absent = [c["name"] for c in content["categories"] if c["name"] in classes and not counted[c["id"]]]
    if absent:
        some = ", ".join(absent[:8]) + (", ..." if absent[8:] else "")
        findings.note("class without an object", f"{path}: {some}")
    empty = len(content["images"]) - len({annotation["image_id"] for annotation in content["annotations"]})
    if empty > 0:
        findings.note("images without any object", f"{empty:,} of {path}")
