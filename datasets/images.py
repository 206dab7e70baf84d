"""The one reader of image files: the same pixels for pretraining, fine-tuning, tests, probes and pictures.

What a file holds counts, not its suffix. EXIF's orientation is applied; 16-bit numbers are scaled by 1/257; alpha is
dropped; palettes, CMYK and other colours become RGB. Floats, 32-bit integers and more than LARGEST pixels are refused,
the latter before their memory is taken. docs/data.md states the rules.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from datasets.headers import FORMATS, JPEG, PNG, CorruptSample, Header, read_header, unreadable
from engine.errors import UserError

__all__ = ["CorruptSample", "decode_image", "header_of", "is_image", "read_bgr", "read_plane", "read_rgb", "turn"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
LARGEST = 178_956_970  # pixels, Pillow's own limit against decompression bombs: 512 MiB of RGB
HEAD = 1 << 16  # bytes of a file in which its header is looked for first


def is_image(name: str) -> bool:
    """Whether a file of this name counts as an image: by its suffix, and not hidden (.x.png, macOS's ._x.png)."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def decode_image(data: bytes | None, order: str = "RGB") -> np.ndarray:
    """Encoded image -> uint8 [H, W, 3] as it is shown, in `order` "RGB" or "BGR".

    Raises:
        CorruptSample: no image, one cut short or too large, or numbers that are no colours.
    """
    header = _checked_header(data)
    if header.plain:
        flags = cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_COLOR if order == "BGR" else cv2.IMREAD_COLOR_RGB)
        pixels = _by_opencv(data, flags | (cv2.IMREAD_ANYDEPTH if header.bits == 16 else 0))
        return turn(to_8_bits(pixels), header.orientation)
    pixels = _by_pillow(data, _rgb)
    return pixels if order == "RGB" else np.ascontiguousarray(pixels[..., ::-1])


def decode_plane(data: bytes) -> np.ndarray:
    """Encoded map of one number a pixel -> its integers as stored [H, W], turned as its own EXIF data say.

    Raises:
        CorruptSample: no image, one cut short or too large; colours; a JPEG, whose numbers are not those written; or
            numbers that are no integers.
    """
    header = _checked_header(data)
    if data.startswith(JPEG):
        raise CorruptSample("a JPEG changes the numbers that are written; export the map as PNG")
    if header.plain and header.single:
        return turn(_by_opencv(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION), header.orientation)
    plane = _by_pillow(data, np.array)
    if plane.ndim != 2:
        channels = plane.shape[-1]
        raise CorruptSample(f"has {channels} channels where one number per pixel is expected; export one channel")
    if plane.dtype == bool:
        return plane.astype(np.uint8)
    if plane.dtype.kind not in "ui":
        raise CorruptSample(f"holds {plane.dtype} values where integers are expected; convert it to an integer PNG")
    if data.startswith(PNG) and header.bits in (2, 4) and not header.palette:  # decoders stretch them to 0 .. 255
        return plane // (255 // (2**header.bits - 1))
    return plane


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """uint8 as it is, uint16 scaled by 1/257 and rounded, so that 0 and 65535 become 0 and 255."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels [H, W, ...] -> as shown, by EXIF's orientation 1 to 8."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def header_of(path: str | Path) -> Header:
    """The header of an image file, from its first bytes where they hold it.

    Raises:
        UserError: the file cannot be read, or is no image.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(HEAD)
            try:
                return read_header(data, whole=False)
            except CorruptSample:  # perhaps only too short
                return read_header(data + file.read(), whole=False)
    except (OSError, CorruptSample) as error:
        raise _refused(path, error) from None


def read_rgb(path: str | Path) -> np.ndarray:
    """An image file -> uint8 RGB [H, W, 3]. UserError if it is missing or not usable, see `decode_image`."""
    return _read(path, decode_image)


def read_bgr(path: str | Path) -> np.ndarray:
    """An image file -> uint8 [H, W, 3] in the BGR order of mm* pipelines; otherwise as `read_rgb`."""
    return _read(path, lambda data: decode_image(data, "BGR"))


def read_plane(path: str | Path) -> np.ndarray:
    """A map's file -> its integers [H, W]. UserError if it is missing or not usable, see `decode_plane`."""
    return _read(path, decode_plane)


def _read(path: str | Path, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    try:
        return decode(Path(path).read_bytes())
    except (OSError, CorruptSample) as error:
        raise _refused(path, error) from None


def _refused(path: str | Path, error: OSError | CorruptSample) -> UserError:
    why = error.strerror if isinstance(error, OSError) else error
    return UserError(f"image {path} cannot be read ({why}): replace it, or remove it")


def _checked_header(data: bytes | None) -> Header:
    if not data:
        raise CorruptSample("no image")
    header = read_header(data)
    height, width = header.size
    if height * width > LARGEST or not height * width:
        raise CorruptSample(f"an image of {width}x{height}, possible are 1 to {LARGEST:,} pixels; cut it into tiles")
    return header


def _by_opencv(data: bytes, flags: int) -> np.ndarray:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise CorruptSample(unreadable(error)) from None
    if pixels is None:
        raise CorruptSample("not an image")
    return pixels


def _by_pillow(data: bytes, pixels_of: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            image.load()
            return pixels_of(ImageOps.exif_transpose(image))
    except CorruptSample:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        raise CorruptSample(unreadable(error)) from None


def _rgb(image: Image.Image) -> np.ndarray:
    """A loaded image -> uint8 RGB [H, W, 3]."""
    if image.mode.startswith("I;16"):
        return np.repeat(to_8_bits(np.array(image).astype(np.uint16))[..., None], 3, axis=-1)
    if image.mode in ("I", "F"):
        kind = "32-bit integers" if image.mode == "I" else "floats"
        raise CorruptSample(f"holds {kind}, whose range nothing states; export it with 8 or 16 bits")
    if image.mode == "P":  # by way of RGBA, so that Pillow does not warn of transparent colours
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
