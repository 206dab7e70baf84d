"""How well maps find what a text names, against masks: shared by similarity maps and Grad-CAM.

A question is a picture and a category that shows in it; its map comes from the prompt of that category.

    pointing game   share of questions whose map, resized bilinearly to the picture, peaks within the category's mask
    mean IoU        of the mask and of where the map, stretched to 0..1, is above one half

A constant map points nowhere: it counts as a miss with an IoU of 0.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from analysis.drawing import over, rgb, svg, table_of_pictures, upsample
from analysis.finding import Scalar
from analysis.pictures import Picture
from engine.errors import UserError

Question = tuple[int, str]  # number of the picture, category
SHOWN = 5


def ask(pictures: Sequence[Picture]) -> list[Question]:
    """Every category in every picture, in the order of the pictures and of the names.

    Raises:
        UserError: no picture has a mask.
    """
    questions = [(i, category) for i, picture in enumerate(pictures) for category in sorted(picture.masks)]
    if not questions:
        raise UserError("maps are scored against masks, and these images have none: name a COCO file with --masks")
    return questions


def prompts(questions: Sequence[Question], prompt: str) -> list[str]:
    """The text of each question. UserError for a prompt without a place for the category."""
    if "{}" not in prompt:
        raise UserError(f"the prompt {prompt!r} has no {{}} where the category goes: add it")
    return [prompt.replace("{}", category) for _, category in questions]


def pointing_and_iou(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Maps [Q, h, w] and masks bool [Q, S, S] -> whether each peaks within its mask, bool [Q], and its IoU [Q]."""
    fine = upsample(maps, masks.shape[-2:])  # [Q, S, S]
    least, largest = fine.amin(dim=(1, 2)), fine.amax(dim=(1, 2))
    told = largest > least  # [Q]
    peak = fine.flatten(1).argmax(dim=1, keepdim=True)
    hit = told & masks.flatten(1).gather(1, peak)[:, 0]
    above = told[:, None, None] & (fine > ((least + largest) / 2)[:, None, None])
    both, either = (above & masks).sum(dim=(1, 2)), (above | masks).sum(dim=(1, 2))
    return hit, both / either


def scalars_of(maps: Tensor, pictures: Sequence[Picture], questions: Sequence[Question]) -> dict[str, Scalar]:
    """The scalars of the maps [Q, h, w] of questions."""
    masks = torch.stack([pictures[i].masks[category] for i, category in questions])
    hit, iou = pointing_and_iou(maps, masks)
    return {
        "pointing_game": Scalar(100 * float(hit.float().mean()), "%", "maps that peak within the mask"),
        "mean_iou": Scalar(100 * float(iou.mean()), "%", "mean IoU of the mask and the map above one half"),
        "mask_share": Scalar(100 * float(masks.float().mean()), "%",
                             "share of the picture within the mask: what a random point hits"),
    }  # fmt: skip


def draw(title: str, maps: Tensor, pictures: Sequence[Picture], questions: Sequence[Question]) -> str:
    """Image, mask and map of the first question of each of the first pictures."""
    first = {}
    for number, (i, _) in enumerate(questions):
        first.setdefault(i, number)
    rows = []
    for i, number in list(first.items())[:SHOWN]:
        mask = pictures[i].masks[questions[number][1]].numpy()
        shaded = rgb(pictures[i].pixels) * np.where(mask, 1.0, 0.3)[..., None]
        rows.append([rgb(pictures[i].pixels), shaded.astype(np.uint8), over(pictures[i].pixels, maps[number])])
    return svg(table_of_pictures(title, ["image", "what the text names", "map"], rows))
