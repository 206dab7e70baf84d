"""Predictions drawn for people: over the picture, with what the colours mean, large enough to read."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.panels import paint_classes, paint_depth

LEAST = 480  # pixels of the longer side, to which small pictures are enlarged by a whole factor
OPACITY = 0.55  # of colours over a picture
MARGIN = 8
INK, PAPER = (20, 20, 20), (255, 255, 255)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib's own font, which every machine has and which knows more letters than Pillow's."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size)


def text_size(picture: Image.Image) -> int:
    """Height of letters in pixels that suits a picture."""
    return max(13, max(picture.size) // 60)


def enlarged(pixels: np.ndarray) -> Image.Image:
    """uint8 RGB [H, W, 3] -> a picture of at least LEAST pixels, each pixel a square of the same colour."""
    factor = -(-LEAST // max(pixels.shape[:2]))
    return Image.fromarray(np.ascontiguousarray(pixels.repeat(factor, 0).repeat(factor, 1)))


def blend(image: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Colours over an image, both uint8 RGB of one shape."""
    return (OPACITY * colours + (1 - OPACITY) * image).round().astype(np.uint8)


def draw_classes(image: np.ndarray, labels: np.ndarray, classes: Sequence[str], palette: Sequence) -> np.ndarray:
    """A class map over its image, with a legend of the classes that it holds and their shares.

    Args:
        image: uint8 RGB [H, W, 3]. labels: training ids [H, W].
        classes, palette: name and RGB triple of each id.
    """
    ids, counts = np.unique(labels, return_counts=True)
    order = sorted(zip(-counts, ids, strict=True))
    rows = [(palette[k], f"{classes[k]}  {-100 * count / labels.size:.1f} %") for count, k in order]
    return beside(enlarged(blend(image, paint_classes(labels, palette))), rows)


def draw_detections(
    image: np.ndarray, found: Any, classes: Sequence[str], palette: Sequence, threshold: float
) -> np.ndarray:
    """Boxes, names, scores and masks over their image, the surest on top, with the threshold below.

    Args:
        image: uint8 RGB [H, W, 3]. found: mmdet's `pred_instances`, boxes and masks in the image's pixels.
        classes, palette: name and RGB triple of each label.
        threshold: detections of a lower score are counted and not drawn.
    """
    shown = found[found.scores >= threshold].cpu()
    shown = shown[shown.scores.argsort()]
    labels, canvas = shown.labels.tolist(), image.copy()
    if "masks" in shown:
        for mask, label in zip(shown.masks.numpy().astype(bool), labels, strict=True):
            canvas[mask] = blend(canvas[mask], np.broadcast_to(palette[label], canvas[mask].shape))
    picture = enlarged(canvas)
    factor, size, draw = picture.width // image.shape[1], text_size(picture), ImageDraw.Draw(picture)
    for box, score, label in zip(shown.bboxes.tolist(), shown.scores.tolist(), labels, strict=True):
        colour, corners = tuple(palette[label]), [side * factor for side in box]
        draw.rectangle(corners, outline=colour, width=max(2, size // 6))
        tag(draw, corners[:2], f"{classes[label]} {score:.2f}", size, colour)
    told = f"{len(labels)} of {len(found.scores)} detections: score {threshold:g} or more"
    return below(picture, told)


def draw_depth(image: np.ndarray, depth: np.ndarray, max_depth: float) -> np.ndarray:
    """An image, its depth in metres [H, W] in colour, and the bar of these colours."""
    left, right = enlarged(image), enlarged(paint_depth(depth, max_depth))
    size = text_size(right)
    ramp = np.linspace(0, max_depth, right.height)[:, None].repeat(2 * size, 1)
    strip = Image.fromarray(paint_depth(np.maximum(ramp, 1e-6), max_depth))
    labels = [f"{max_depth * k / 5:.3g} m" for k in range(6)]
    wide = int(max(font(size).getlength(label) for label in labels))
    width = left.width + right.width + strip.width + wide + 4 * MARGIN
    sheet = Image.new("RGB", (width, right.height + 2 * MARGIN), PAPER)
    draw, x = ImageDraw.Draw(sheet), 0
    for part in (left, right, strip):
        sheet.paste(part, (x, MARGIN))
        x += part.width + MARGIN
    for k, label in enumerate(labels):
        y = MARGIN + (right.height - 1) * k / 5
        draw.text((x, y), label, fill=INK, font=font(size), anchor="lm" if 0 < k < 5 else "la" if k == 0 else "ld")
    return np.asarray(sheet)


def tag(draw: ImageDraw.ImageDraw, corner: Sequence[float], text: str, size: int, colour: tuple[int, ...]) -> None:
    """A name on its colour, above a box where there is room."""
    x, y = corner
    y = y - 1.3 * size if y > 1.3 * size else y
    draw.rectangle((x, y, x + font(size).getlength(text) + 4, y + 1.3 * size), fill=colour)
    dark = np.dot(colour, (0.299, 0.587, 0.114)) > 140
    draw.text((x + 2, y), text, fill=INK if dark else PAPER, font=font(size))


def beside(picture: Image.Image, rows: Sequence[tuple[Sequence[int], str]]) -> np.ndarray:
    """A picture with a legend at its right: a square of the colour, then the text, of each row."""
    size = text_size(picture)
    step = int(1.6 * size)
    wide = int(max((font(size).getlength(text) for _, text in rows), default=0)) + step + 3 * MARGIN
    height = max(picture.height, step * len(rows) + 2 * MARGIN)
    sheet = Image.new("RGB", (picture.width + wide, height), PAPER)
    sheet.paste(picture, (0, 0))
    draw, x = ImageDraw.Draw(sheet), picture.width + MARGIN
    for k, (colour, text) in enumerate(rows):
        y = MARGIN + k * step
        draw.rectangle((x, y, x + size, y + size), fill=tuple(colour), outline=INK)
        draw.text((x + step, y + size / 2), text, fill=INK, font=font(size), anchor="lm")
    return np.asarray(sheet)


def below(picture: Image.Image, text: str) -> np.ndarray:
    """A picture with a line of text below it."""
    size = text_size(picture)
    sheet = Image.new("RGB", (max(picture.width, int(font(size).getlength(text)) + 2 * MARGIN),
                              picture.height + 2 * size), PAPER)  # fmt: skip
    sheet.paste(picture, (0, 0))
    ImageDraw.Draw(sheet).text((MARGIN, picture.height + size), text, fill=INK, font=font(size), anchor="lm")
    return np.asarray(sheet)
