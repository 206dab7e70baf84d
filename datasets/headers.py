"""What an image file says of itself before its pixels are decoded: size, orientation, depth, and whether it is whole.

JPEG (ISO/IEC 10918-1, annex B) and PNG (ISO/IEC 15948, chapter 11) are walked here, because their decoders return the
readable part of a file cut short without a word. Of all other formats Pillow tells.
"""

import re
import struct
import zlib
from io import BytesIO
from typing import NamedTuple

from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")  # none that runs a program
ORIENTATION = 0x0112  # EXIF's tag
JPEG, PNG, EXIF = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"Exif\0\0"
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG's markers of a frame header
SCAN, END = 0xDA, 0xD9
ENTROPY_ENDS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # the next marker after entropy-coded data
GREY, COLOUR, PALETTE = 0, 2, 3  # PNG's colour types; 4 stands for alpha


class CorruptSample(Exception):
    """A sample's bytes cannot be used; the message says why."""


class Header(NamedTuple):
    """What a file says of its picture.

    size: (height, width) as stored; orientation: EXIF's, 1 to 8; bits: of a number; plain: grey or colours of 8 or 16
    bits in a JPEG or PNG, which OpenCV decodes to the same pixels as Pillow and faster; single: one number a pixel;
    palette: that number stands for a colour.
    """

    size: tuple[int, int]
    orientation: int = 1
    bits: int = 8
    plain: bool = False
    single: bool = False
    palette: bool = False

    @property
    def shown(self) -> tuple[int, int]:
        """(height, width) of the picture as it is shown, turned by its orientation."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_header(data: bytes, whole: bool = True) -> Header:
    """The header of an encoded image.

    Args:
        data: the file, or its beginning.
        whole: whether to look for the end of a JPEG or PNG too; bytes after it belong to others and are no fault.

    Raises:
        CorruptSample: no image, or one cut short.
    """
    try:
        if data.startswith(JPEG):
            found = _jpeg(data, whole)
            return found if found is not None else _of_pillow(data)
        if data.startswith(PNG):
            return _png(data, whole)
        return _of_pillow(data)
    except (IndexError, struct.error):
        raise CorruptSample("image cut short") from None


def _jpeg(data: bytes, whole: bool) -> Header | None:
    """Walk the segments; None where something else than segments stands between them, which Pillow may forgive."""
    at, frame, exif = 2, None, None
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in FRAMES:
            frame = struct.unpack_from(">BHHB", data, at + 4)
        elif marker == 0xE1 and data.startswith(EXIF, at + 4):
            exif = data[at + 10 : at + 2 + length]
        elif marker == SCAN:
            break
        at += 2 + length
    else:
        return None
    if frame is None:
        return None
    if whole and not _jpeg_ends(data, at):
        raise CorruptSample("image cut short")
    bits, height, width, parts = frame
    return Header((height, width), _orientation(exif), bits, bits == 8 and parts in (1, 3), parts == 1)


def _jpeg_ends(data: bytes, at: int) -> bool:
    """Whether the end mark follows the scan that begins at `at`, and whatever scans and tables come after it."""
    while data[at + 1] != END:
        (length,) = struct.unpack_from(">H", data, at + 2)
        found = ENTROPY_ENDS.search(data, at + 2 + length)
        if found is None:
            return False
        at = found.start()
    return True


def _png(data: bytes, whole: bool) -> Header:
    """Walk the chunks; what carries pixels must have its checksum."""
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    at, exif, plain, view = 8, None, colour & PALETTE != PALETTE and bits in (8, 16), memoryview(data)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        (checksum,) = struct.unpack_from(">I", data, end - 4)  # an orientation may stand behind the pixels
        if (whole or kind != b"IDAT") and kind[:1].isupper() and zlib.crc32(view[at + 4 : end - 4]) != checksum:
            raise CorruptSample(f"damaged image: the checksum of its {kind.decode('latin-1')} does not fit")
        if kind == b"eXIf":
            exif = data[at + 8 : end - 4]
        elif kind == b"acTL":  # an animation, whose first picture need not be the one that decoders begin with
            plain = False
        elif kind == b"IEND":
            break
        at = end
    return Header((height, width), _orientation(exif), bits, plain, colour in (GREY, PALETTE), colour == PALETTE)


def _of_pillow(data: bytes) -> Header:
    """Size and orientation of another format, by Pillow; a TIFF's size is that of the turned picture already."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            single = len(image.getbands()) == 1
            if image.format == "TIFF":
                return Header((height, width), single=single)
            return Header((height, width), _valid(image.getexif().get(ORIENTATION)), single=single)
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged bytes
        raise CorruptSample(unreadable(error)) from None


def unreadable(error: Exception) -> str:
    """What Pillow or OpenCV says of bytes that they cannot read, on one line."""
    if "cannot identify" in str(error):
        return "not an image"
    return f"not a whole image: {' '.join(str(error).split()) or type(error).__name__}"


def _orientation(exif: bytes | None) -> int:
    """EXIF's orientation; 1, as stored, where there is none that can be read."""
    if not exif:
        return 1
    tags = Image.Exif()
    try:
        tags.load(exif)
        return _valid(tags.get(ORIENTATION))
    except Exception:  # damaged EXIF data say nothing, and the pixels are whole without them
        return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
