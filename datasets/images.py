"""Reading image files: what is one, its pixels, and a sentence where it cannot be read."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from engine.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
END_MARKS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8": b"\xff\xd9"}


class CorruptSample(Exception):
    """A sample's bytes cannot be used; the message says why."""


def decode_image(data: bytes | None) -> np.ndarray:
    """Encoded image -> uint8 RGB [H, W, 3]. Raises CorruptSample, also for a file cut short that still decodes."""
    if not data:
        raise CorruptSample("no image")
    for start, end in END_MARKS.items():
        if data.startswith(start) and end not in data[-64:]:
            raise CorruptSample("image cut short")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise CorruptSample("not an image")
    return image


def read_rgb(path: Path) -> np.ndarray:
    """An image file -> RGB uint8 [H, W, 3]. UserError if it is missing or no whole image."""
    try:
        return decode_image(path.read_bytes())
    except (OSError, CorruptSample) as error:
        raise UserError(f"image {path} cannot be read ({error}): fetch it again or remove it") from None


def read_bgr(path: str) -> np.ndarray:
    """Return an image file as uint8 [H, W, 3] in the BGR order of mm* pipelines; UserError if it cannot be decoded."""
    # OpenCV returns the readable part of a truncated file without a word; Pillow raises.
    return np.ascontiguousarray(_decode(path, "RGB")[..., ::-1])


def read_plane(path: str) -> np.ndarray:
    """Return a single-channel image file as its stored integers [H, W]; UserError for colour or an unreadable file."""
    plane = _decode(path, None)
    if plane.ndim != 2:
        raise UserError(
            f"{path}: has {plane.shape[-1]} channels where one number per pixel is expected; "
            "convert it to a single-channel PNG"
        )
    if plane.dtype.kind not in "ui":
        raise UserError(f"{path}: holds {plane.dtype} values where integers are expected; convert it to an integer PNG")
    return plane


def _decode(path: str, mode: str | None) -> np.ndarray:
    try:
        with Image.open(BytesIO(Path(path).read_bytes())) as image:
            return np.array(image.convert(mode) if mode else image)
    except FileNotFoundError:
        raise UserError(f"{path}: the file is gone; restore it or start again without it") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three on damaged files
        raise UserError(f"{path}: cannot be read as an image ({error}); replace or remove the file") from None
