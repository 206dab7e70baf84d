"""The objects of a COCO file: boxes, masks, areas and crowds as trainer and evaluator both read them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from datasets.masks import Box, encoded, extent, meets_itself, polygon_area, turned_box, turned_mask, whole_mask

TOLERATED = 0.001  # share of objects without a whole mask up to which they become regions that do not count
BEYOND = 1.0  # pixels by which a box may leave its image before it is mentioned: rounding
THIN = 0.01  # pixels; a box with a shorter side has no area to compare
FARTHEST = 1e9  # pixels; beyond it nothing is a place in an image
FIT = 0.5  # IoU of a box with its mask below which they do not belong together
CLOSE = 0.9  # IoU of a box with its mask from which they do
SPARSE = 16.0  # square pixels of the box around a mask below which it may be without any pixel


@dataclass
class Checked:
    """A COCO file as trainer and evaluator read it, and what was found.

    content: the file's, mended where a note says so; faults, notes: (kind, sentence) of what forbids training and of
    what was mended or is worth knowing; mended: whether the content differs from the file's.
    """

    path: Path
    content: dict[str, Any]
    faults: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    mended: bool = False

    def fault(self, kind: str, sentence: str) -> None:
        """Something that forbids training."""
        self.faults.append((kind, f"{self.path}: {sentence}"))

    def note(self, kind: str, sentence: str, mended: bool = True) -> None:
        """Something mended, or only worth knowing."""
        self.notes.append((kind, f"{self.path}: {sentence}"))
        self.mended |= mended


def keep_usable(
    found: Checked, objects: Sequence[dict], sizes: Mapping[int, tuple | None]
) -> list[tuple[dict, Box | None]]:
    """The annotations with a box and a mask that can be used, as they are shown, and the boxes around their masks.

    Those without a whole mask become crowd regions of their box where they are few, and are faults where they are not;
    what is around them does not matter.
    """
    kept, broken = [], []
    for annotation in objects:
        size = sizes.get(annotation["image_id"])
        if size is None or not has_box(found, annotation, size[0]):
            continue
        set_crowd(found, annotation)
        try:
            around = set_mask(found, annotation, size[0])
        except ValueError as error:
            broken.append((annotation, str(error)))
            make_region(annotation)
            around = None
        set_area(found, annotation, size[0])
        if size[1] > 1:
            turn_object(annotation, *size)
            around = extent(annotation["segmentation"])
        kept.append((annotation, around))
    few = len(broken) <= TOLERATED * len(objects)
    for annotation, why in broken:
        if few:
            found.note("object without a whole mask", f"annotation {annotation['id']}: {why}; its box is a region that "
                       "does not count")  # fmt: skip
        else:
            found.fault("object without a whole mask", f"annotation {annotation['id']}: {why}; draw it again")
    return kept


def has_box(found: Checked, annotation: dict, size: tuple[int, int]) -> bool:
    """A box of four numbers with an area in its image? Without area it is left out, as mmdet does in training."""
    box, name = annotation["bbox"], f"annotation {annotation['id']}"
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        found.fault("broken box", f"{name} has the box {box}: give [x, y, width, height] in pixels")
        return False
    x, y, width, height = box
    inside = min(x + width, size[1]) - max(x, 0), min(y + height, size[0]) - max(y, 0)
    if min(width, height) < THIN or min(inside) <= 0:
        found.note("box without area in its image, left out", f"{name}: {box} in {size[1]}x{size[0]}")
        return False
    if min(width, height) < 1:
        found.note("box thinner than a pixel, not learnt from", f"{name}: {box}", mended=False)
    if min(x, y) < -BEYOND or x + width > size[1] + BEYOND or y + height > size[0] + BEYOND:
        found.note("box that reaches beyond its image", f"{name}: {box} in {size[1]}x{size[0]}", mended=False)
    return True


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < FARTHEST  # not NaN either


def set_crowd(found: Checked, annotation: dict) -> None:
    """iscrowd is 0 or 1; absent it is 0, and `ignore`, which only the trainer knows, counts as crowd for both."""
    crowd = annotation.get("iscrowd")
    if crowd is None:
        annotation["iscrowd"] = 0
        found.mended = True  # said once for the file, not for each
        if not any(kind == "iscrowd read as 0" for kind, _ in found.notes):
            found.note("iscrowd read as 0", "annotations do not state it")
    elif crowd not in (0, 1):
        found.fault("iscrowd that is neither 0 nor 1", f"annotation {annotation['id']} has {crowd!r}: correct it")
    else:
        annotation["iscrowd"] = int(crowd)
    if annotation.pop("ignore", 0):
        annotation["iscrowd"] = 1
        found.note("ignored object read as crowd", f"annotation {annotation['id']} is to be ignored")


def set_mask(found: Checked, annotation: dict, size: tuple[int, int]) -> Box:
    """Leave the usable part of the mask; returns the box around it. ValueError if there is none."""
    mask, stray = whole_mask(annotation["segmentation"], size)
    if stray:
        annotation["segmentation"] = mask
        sentence = f"annotation {annotation['id']}: {stray} beside {len(mask)} whole ones"
        found.note("stray polygons left out", sentence)
    around = extent(mask)
    sparse = around[2] * around[3] < SPARSE or polygon_area(mask) < SPARSE or meets_itself(mask)
    if sparse and not int(coco_mask.area(encoded(mask, size))):
        make_region(annotation)
        found.note("mask without a pixel", f"annotation {annotation['id']}: its box is a region that does not count")
    return around


def make_region(annotation: dict) -> None:
    """Make the pixels that the box touches a crowd region: what is found there is neither right nor wrong."""
    x, y, width, height = annotation["bbox"]
    left, top, right, bottom = math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height)
    annotation["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
    annotation["iscrowd"] = 1


def set_area(found: Checked, annotation: dict, size: tuple[int, int]) -> None:
    """`area` is the mask's number of pixels where the file gives none, no positive one, or more than the image has."""
    area = annotation.get("area")
    if not _is_number(area) or not 0 < area <= size[0] * size[1]:
        pixels = int(coco_mask.area(encoded(annotation["segmentation"], size)))
        annotation["area"] = max(1, pixels)
        found.note("area counted from the mask", f"annotation {annotation['id']} has the area {area}")


def turn_object(annotation: dict, size: tuple[int, int], orientation: int) -> None:
    """Turn an object that was drawn on stored pixels as EXIF turns its image."""
    annotation["bbox"] = turned_box(annotation["bbox"], size, orientation)
    annotation["segmentation"] = turned_mask(annotation["segmentation"], size, orientation)


READINGS: dict[str, Callable[[Box], Box]] = {
    "[x1, y1, x2, y2]": lambda box: (box[0], box[1], box[2] - box[0], box[3] - box[1]),
    "[centre x, centre y, width, height]": lambda box: (box[0] - box[2] / 2, box[1] - box[3] / 2, box[2], box[3]),
    "[y, x, height, width]": lambda box: (box[1], box[0], box[3], box[2]),
}


def check_fit(found: Checked, objects: Sequence[tuple[dict, Box | None]]) -> None:
    """Do boxes lie around their masks? Most of them elsewhere means that they are written in another way."""
    singles = [(annotation, around) for annotation, around in objects if not annotation["iscrowd"]]
    fits = [box_iou(annotation["bbox"], around) for annotation, around in singles]
    apart = [annotation for (annotation, _), fit in zip(singles, fits, strict=True) if fit < FIT]
    name, count = otherwise(singles) if len(singles) > 2 * sum(fit >= CLOSE for fit in fits) else ("", 0)
    if count * 2 > len(singles):
        found.fault("boxes apart from their masks", f"read as {name}, {count} of {len(singles)} boxes lie around their "
                    "masks, and as they are few: give [x, y, width, height] in pixels")  # fmt: skip
    elif len(apart) * 2 > len(singles):
        found.fault("boxes apart from their masks", f"{len(apart)} of {len(singles)} boxes do not lie around their "
                    "masks: give [x, y, width, height] in pixels")  # fmt: skip
    else:
        for annotation in apart:
            sentence = f"annotation {annotation['id']}: box {annotation['bbox']}"
            found.note("box apart from its mask", sentence, mended=False)


def otherwise(singles: Sequence[tuple[dict, Box]]) -> tuple[str, int]:
    """The other reading by which most boxes lie around their masks, and how many do."""
    close = {name: sum(box_iou(read(a["bbox"]), around) >= CLOSE for a, around in singles)
             for name, read in READINGS.items()}  # fmt: skip
    return max(close.items(), key=lambda item: item[1])


def box_iou(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height); 0 of boxes without area."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    union = box[2] * box[3] + other[2] * other[3] - both
    return both / union if union > 0 and math.isfinite(union) else 0.0
