"""The images that analyses look at, squared as the encoder sees them, with the masks of the things in them."""

import contextlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pycocotools.coco import COCO
from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, center_crop, resize

from engine.errors import UserError
from pretrain.shards import IMAGES
from recognition.towers import read_image, to_square


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
        UserError: no such folder, no image in it, a damaged one, or a COCO file that is none or lacks an image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder of images {folder}: check --images")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower().removeprefix(".") in IMAGES)[:count]
    if not files:
        raise UserError(f"{folder} holds no images of type {', '.join(IMAGES)}: check --images")
    found = read_masks(Path(masks), [file.name for file in files], size) if masks is not None else {}
    return [Picture(file.name, to_square(read_image(file), size), found.get(file.name, {})) for file in files]


def read_masks(path: Path, names: list[str], size: int) -> dict[str, dict[str, Tensor]]:
    """File name -> category -> mask, bool [size, size], of the named images. Errors as in `load_pictures`."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # COCO reports to the terminal that it reads a file
            coco = COCO(path)
        numbers = {image["file_name"]: image["id"] for image in coco.dataset["images"]}
        categories = {category["id"]: category["name"] for category in coco.dataset["categories"]}
    except OSError as error:
        raise UserError(f"masks {path} cannot be read ({error.strerror}): check --masks") from None
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise UserError(f"{path} is no COCO file of instances ({error!r}): check --masks") from None
    if absent := [name for name in names if name not in numbers]:
        raise UserError(f"{path} does not list the image {absent[0]}: --masks must belong to --images")
    found = {name: {} for name in names}
    for name, things in found.items():
        for annotation in coco.imgToAnns[numbers[name]]:
            mask = mask_to_square(torch.from_numpy(coco.annToMask(annotation)).bool(), size)
            category = categories[annotation["category_id"]]
            if mask.any():
                things[category] = things[category] | mask if category in things else mask
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
