"""The images that analyses look at, squared as the encoder sees them, with the masks of the things in them."""

import contextlib
import io
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pycocotools.coco import COCO
from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, center_crop, resize

from backbones.towers import to_square
from datasets.class_folders import images_in
from datasets.images import IMAGE_SUFFIXES, read_rgb
from engine.errors import UserError


@dataclass(frozen=True)
class Picture:
    """An image, uint8 [3, S, S], and per category the union of its instances, bool [S, S]; no key where none shows."""

    name: str
    pixels: Tensor
    masks: dict[str, Tensor] = field(default_factory=dict)


def load_pictures(folder: str | Path, count: int, size: int, masks: str | Path | None = None) -> list[Picture]:
    """The first `count` images of a folder in the order of their names, or all if there are fewer.

    Args:
        folder: of image files.
        size: pixels per side: the short side is resized to it and the centre cut out, masks likewise.
        masks: a COCO file whose `file_name`s are names in the folder; without one, pictures have no masks.

    Raises:
        UserError: no such folder, no image in it, a damaged one, or a COCO file that is none, lacks an image or is of
            an image of another size.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder of images {folder}: check --images")
    files = images_in(folder)[:count]
    if not files:
        raise UserError(f"{folder} holds no images of type {', '.join(IMAGE_SUFFIXES)}: check --images")
    listed = read_masks(Path(masks), [file.name for file in files]) if masks is not None else {}
    found = []
    for file in files:
        image, things = read_rgb(file), {}
        for category, mask in listed.get(file.name, {}).items():
            if mask.shape != image.shape[:2]:
                sides = [f"{width} x {height}" for height, width in (image.shape[:2], mask.shape)]
                raise UserError(f"{file} has {sides[0]} pixels, its mask in {masks} {sides[1]}: check --masks")
            square = mask_to_square(mask, size)
            if square.any():
                things[category] = square
        found.append(Picture(file.name, to_square(image, size), things))
    return found


def read_masks(path: Path, names: list[str]) -> dict[str, dict[str, Tensor]]:
    """File name -> category -> union of its instances, bool [H, W], of the named images.

    Raises:
        UserError: a file that cannot be read, is none of COCO's, or does not list each name once.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # COCO reports to the terminal that it reads a file
            coco = COCO(path)
        numbers = defaultdict(list)
        for image in coco.dataset["images"]:
            numbers[image["file_name"]].append(image["id"])
        categories = {category["id"]: category["name"] for category in coco.dataset["categories"]}
    except OSError as error:
        raise UserError(f"masks {path} cannot be read ({error.strerror}): check --masks") from None
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise UserError(f"{path} is no COCO file of instances ({error!r}): check --masks") from None
    if absent := [name for name in names if name not in numbers]:
        raise UserError(f"{path} does not list the image {absent[0]}: --masks must belong to --images")
    if double := [name for name in names if len(numbers[name]) > 1]:
        raise UserError(f"{path} lists the image {double[0]} more than once: check --masks")
    found = {name: {} for name in names}
    for name, things in found.items():
        for annotation in coco.imgToAnns[numbers[name][0]]:
            try:
                mask = torch.from_numpy(coco.annToMask(annotation)).bool()
                category = categories[annotation["category_id"]]
                things[category] = things[category] | mask if category in things else mask
            except Exception as error:  # pycocotools raises bare ones too; whatever it is, the annotation is at fault
                raise UserError(
                    f"{path}: annotation {annotation.get('id')} of {name} is damaged ({error!r}): check --masks"
                ) from None
    return found


def mask_to_square(mask: Tensor, size: int) -> Tensor:
    """A mask, bool [H, W] -> bool [size, size], by the window that `to_square` cuts from its image."""
    if min(mask.shape) != size:
        mask = resize(mask[None].to(torch.uint8), [size], InterpolationMode.NEAREST_EXACT)[0].bool()
    return center_crop(mask[None], [size, size])[0]


def coverage(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Which share of each cell a mask [S, S] covers, float64 [rows, columns]; S is a multiple of both."""
    rows, columns = grid
    return mask.double().unflatten(0, (rows, -1)).unflatten(2, (columns, -1)).mean(dim=(1, 3))
