"""One decoder, one meaning: whatever the file, every reader sees what Pillow alone shows, or one sentence."""

import io
import itertools
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from datasets.images import LARGEST, CorruptSample, decode_image, decode_plane, header_of, is_image, read_rgb, turn
from engine.errors import UserError

RNG = np.random.default_rng(0)
SMOOTH = cv2.resize(RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8), (90, 60), interpolation=cv2.INTER_CUBIC)


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def png(*chunks):
    """A PNG of (name, content) chunks."""
    sealed = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


def shown(data):
    """What Pillow alone makes of a file, turned as EXIF says."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGBA" if image.mode == "P" else "RGB").convert("RGB"))


ALPHA = np.concatenate([SMOOTH, RNG.integers(0, 256, (60, 90, 1), dtype=np.uint8)], axis=-1)
FILES = {
    "jpeg": encoded(SMOOTH, "JPEG", quality=90),
    "jpeg without subsampling": encoded(SMOOTH, "JPEG", subsampling=0),
    "progressive jpeg": encoded(SMOOTH, "JPEG", progressive=True),
    "jpeg with restart marks": encoded(SMOOTH, "JPEG", restart_marker_blocks=2),
    "grey jpeg": encoded(SMOOTH[..., 0], "JPEG"),
    "cmyk jpeg": encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG"),
    "png": encoded(SMOOTH, "PNG"),
    "grey png": encoded(SMOOTH[..., 0], "PNG"),
    "png with alpha": encoded(ALPHA, "PNG"),
    "grey png with alpha": encoded(Image.fromarray(SMOOTH).convert("LA"), "PNG"),
    "png with a transparent colour": encoded(SMOOTH, "PNG", transparency=(1, 2, 3)),
    "palette png": encoded(Image.fromarray(SMOOTH).quantize(16), "PNG"),
    "palette png with transparency": encoded(Image.fromarray(SMOOTH).quantize(16), "PNG", transparency=b"\0\x80" * 8),
    "black and white png": encoded(Image.fromarray(SMOOTH).convert("1"), "PNG"),
    "bmp": encoded(SMOOTH, "BMP"),
    "tiff": encoded(SMOOTH, "TIFF", compression="tiff_lzw"),
    "webp": encoded(SMOOTH, "WEBP", lossless=True),
    "gif": encoded(Image.fromarray(SMOOTH).quantize(16), "GIF"),
    "one pixel": encoded(SMOOTH[:1, :1], "PNG"),
    "one pixel jpeg": encoded(SMOOTH[:1, :1], "JPEG"),
    "wide": encoded(np.zeros((2, 512, 3), np.uint8), "PNG"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("error")
def test_every_kind_reads_as_pillow_shows_it(name):
    found = decode_image(FILES[name])
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    assert np.array_equal(found, shown(FILES[name]))
    assert np.array_equal(decode_image(FILES[name], "BGR"), found[..., ::-1])


@pytest.mark.parametrize(("kind", "orientation"), itertools.product(["JPEG", "PNG", "WEBP", "TIFF"], range(1, 9)))
def test_exif_orientation_is_applied_everywhere(tmp_path, kind, orientation):
    data = encoded(SMOOTH, kind, exif=exif(orientation), **({"lossless": True} if kind == "WEBP" else {}))
    found = decode_image(data)
    assert np.array_equal(found, shown(data))
    if kind != "JPEG":  # without loss, so the turn itself can be seen
        tall = orientation >= 5
        assert found.shape == ((90, 60, 3) if tall else (60, 90, 3))
        corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
        assert np.array_equal(found[corner[orientation]], SMOOTH[0, 0]), "where the first stored pixel is shown"
    (tmp_path / "x").write_bytes(data)
    assert header_of(tmp_path / "x").shown == found.shape[:2]


def test_turn_is_exifs_own():
    stored = np.arange(12).reshape(3, 4)
    for orientation in range(1, 9):
        image = Image.fromarray(stored.astype(np.uint8))
        image.getexif()[0x0112] = orientation
        assert np.array_equal(turn(stored, orientation), np.array(ImageOps.exif_transpose(image)))


def test_damaged_exif_data_say_nothing():
    data = encoded(SMOOTH, "JPEG", exif=b"Exif\0\0" + b"\xff" * 20)
    assert np.array_equal(decode_image(data), decode_image(encoded(SMOOTH, "JPEG")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_scaled(kind):
    values = np.array([[0, 128, 129, 257, 1000, 32768, 65535]], np.uint16)
    found = decode_image(encoded(values, kind))
    assert found[0, :, 0].tolist() == [round(v / 257) for v in values[0].tolist()]
    assert (found == found[..., :1]).all()


def test_sixteen_bits_of_colour_are_scaled():
    values = RNG.integers(0, 65536, (6, 5, 3), dtype=np.uint16)
    data = cv2.imencode(".png", values)[1].tobytes()  # OpenCV writes BGR
    assert np.array_equal(decode_image(data, "BGR"), np.rint(values / 257).astype(np.uint8))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_that_are_no_colours_are_refused(kind):
    with pytest.raises(CorruptSample, match=r"holds (floats|32-bit integers)"):
        decode_image(encoded(np.ones((4, 5), kind), "TIFF"))


@pytest.mark.parametrize("name", FILES)
def test_bytes_after_the_end_belong_to_others(name):
    assert np.array_equal(decode_image(FILES[name] + b"\0" * 200), decode_image(FILES[name]))
    assert np.array_equal(decode_image(FILES[name] + b"\xff\xd8 video"), decode_image(FILES[name]))


@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "jpeg with restart marks", "cmyk jpeg", "png", "webp"])
def test_a_file_cut_anywhere_is_refused(name):
    data = FILES[name]
    for end in [0, 1, 2, 5, *RNG.integers(6, len(data), 40).tolist(), len(data) - 1]:
        with pytest.raises(CorruptSample):
            decode_image(data[:end])
    thumbnail = encoded(SMOOTH, "JPEG", exif=exif(1) + FILES["jpeg"])  # an end mark before the picture's own
    with pytest.raises(CorruptSample, match="cut short"):
        decode_image(thumbnail[:-500])


def test_damage_in_a_png_is_seen():
    data = bytearray(FILES["png"])
    data[len(data) // 2] ^= 1
    with pytest.raises(CorruptSample, match="checksum"):
        decode_image(bytes(data))


def test_random_damage_gives_an_image_or_a_sentence():
    for name, data in FILES.items():
        rng = np.random.default_rng(len(name))
        for _ in range(25):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                broken[place] = rng.integers(256)
            try:
                assert decode_image(bytes(broken)).shape[2] == 3
            except CorruptSample as error:
                assert "\n" not in str(error)


def test_bombs_are_refused_by_their_header():
    """A PNG of 14000 x 13000 whose pixels are not even there, and a JPEG that claims 65535 x 65535."""
    head = struct.pack(">IIBBBBB", 14000, 13000, 8, 2, 0, 0, 0)
    bomb = png((b"IHDR", head), (b"IEND", b""))
    jpeg = bytearray(FILES["jpeg"])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff" * 4
    for data, size in ((bomb, "14000x13000"), (bytes(jpeg), "65535x65535")):
        with pytest.raises(CorruptSample, match=f"an image of {size}, possible are 1 to {LARGEST:,} pixels"):
            decode_image(data)
    for kind in ("TIFF", "BMP", "GIF"):
        with pytest.raises(CorruptSample):
            decode_image(encoded(Image.new("1", (14000, 13000)), kind))


def test_maps_keep_their_integers():
    wide = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)
    assert np.array_equal(decode_plane(encoded(wide, "PNG")), wide)
    assert np.array_equal(decode_plane(encoded(wide, "TIFF")), wide)
    ids = RNG.integers(0, 4, (6, 5), dtype=np.uint8)
    picture = Image.fromarray(ids)
    picture.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    assert np.array_equal(decode_plane(encoded(picture, "PNG")), ids)
    assert np.array_equal(decode_plane(encoded(picture, "PNG", bits=2)), ids)
    assert np.array_equal(decode_plane(encoded(Image.fromarray(ids > 1), "PNG")), ids > 1)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_maps_of_few_bits_are_not_stretched(bits):
    """PNG's grey of 2 and 4 bits means shades, which decoders stretch to 255; a label map's are ids."""
    ids = RNG.integers(0, 2**bits, (4, 8), dtype=np.uint8)
    packed = np.packbits(np.unpackbits(ids[..., None], axis=-1)[..., -bits:].reshape(4, -1), axis=-1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    head = struct.pack(">IIBBBBB", 8, 4, bits, 0, 0, 0, 0)
    assert np.array_equal(decode_plane(png((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))), ids)


def test_maps_that_are_none_are_refused():
    for data, what in (
        (FILES["grey jpeg"], "a JPEG changes the numbers"),
        (FILES["png"], "3 channels where one number per pixel"),
        (encoded(np.ones((4, 5), np.float32), "TIFF"), "float32 values where integers"),
    ):
        with pytest.raises(CorruptSample, match=what):
            decode_plane(data)


def test_what_counts_as_an_image():
    assert is_image("a.JPEG") and is_image("b.tiff") and is_image("a.b.webp")
    assert not any(map(is_image, ("._a.jpg", ".a.png", "Thumbs.db", "a.txt", "png", "a.json")))


def test_the_suffix_does_not_matter_and_the_file_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(FILES["jpeg"])
    assert np.array_equal(read_rgb(tmp_path / "a.png"), decode_image(FILES["jpeg"]))
    (tmp_path / "b.jpg").write_bytes(FILES["jpeg"][:-9])
    with pytest.raises(UserError, match=r"image .*b.jpg cannot be read \(image cut short\): replace it"):
        read_rgb(tmp_path / "b.jpg")
    with pytest.raises(UserError, match=r"image .*c.jpg cannot be read \(No such file"):
        read_rgb(tmp_path / "c.jpg")
    with pytest.raises(UserError, match="cannot be read"):
        read_rgb(tmp_path)
