"""One edit of a file in a format of its own: image, tar, safetensors, torch's archive; and which edit suits a file."""

import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath
from random import Random

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from benchmarks.fuzzing.edits import edit_bytes, edit_json, edit_tree, odd
from benchmarks.fuzzing.texts import edit_lines, edit_python, edit_words

Edit = Callable[[bytes, Random], bytes]
ORIENTATION = 0x0112  # EXIF's tag
MODES = ("L", "LA", "P", "1", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV", "LAB")
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "ICO", "TGA")
DTYPES = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn,
          torch.complex64)  # fmt: skip


def encode(pixels: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    """An array as an image file."""
    return encode_image(Image.fromarray(pixels), format, **options)


def encode_image(image: Image.Image, format: str, **options: object) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def edit_image(data: bytes, draw: Random) -> bytes:
    """Write it anew as another kind of picture, change a part of its structure, or its bytes."""
    kind = draw.random()
    try:
        if kind < 0.3:
            return another_picture(data, draw)
        if kind < 0.65 and data.startswith(b"\x89PNG"):
            return edit_chunks(data, draw)
        if kind < 0.65 and data.startswith(b"\xff\xd8"):
            return edit_segments(data, draw)
    except Exception:  # noqa: BLE001  a format that cannot hold this, or an earlier edit's damage
        pass
    return edit_bytes(data, draw)


def another_picture(data: bytes, draw: Random) -> bytes:
    """The same picture in another mode, format, size or orientation, or with other pictures behind it."""
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.copy()
    kind = draw.randrange(5)
    if kind == 0:
        image = image.convert(draw.choice(MODES)) if draw.random() < 0.7 else image.quantize(draw.choice((2, 4, 16)))
        return encode_image(image, "TIFF" if image.mode in ("F", "LAB", "YCbCr", "CMYK") else "PNG")
    if kind == 1:
        return encode_image(image.convert(draw.choice(("RGB", "L"))), draw.choice(FORMATS))
    if kind == 2:
        width, height = image.size
        size = draw.choice(((1, 1), (1, 300), (400, 1), (height, width), (width + 1, height), (2 * width, 2 * height)))
        return encode_image(image.resize(size), "PNG")
    if kind == 3:
        tags = Image.Exif()
        tags[ORIENTATION] = draw.choice((*range(10), -1, 65535))
        exif = tags.tobytes()
        exif = exif if draw.random() < 0.7 else edit_bytes(exif, draw)
        return encode_image(image, draw.choice(("PNG", "JPEG", "TIFF", "WEBP")), exif=exif)
    others = [image.rotate(90), image.resize((3, 5))]
    return encode_image(image, draw.choice(("PNG", "TIFF", "GIF", "WEBP")), save_all=True, append_images=others)


def edit_chunks(data: bytes, draw: Random) -> bytes:
    """One chunk of a PNG: its content with a new checksum, its length, its kind; left out, repeated or moved."""
    at, chunks = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    spot = draw.randrange(len(chunks))
    kind, content = chunks[spot]
    choice = draw.randrange(6)
    if choice == 0:
        del chunks[spot]
    elif choice == 1:
        chunks.insert(draw.randrange(len(chunks)), chunks[spot])
    elif choice == 2:
        chunks[spot] = draw.choice((b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fdAT", b"gAMA", b"abcd")), content
    elif choice == 3 and kind == b"IHDR":
        sides = [draw.choice((0, 1, 2, 12, 16, 20_000, 2**31 - 1, 2**31, 2**32 - 1)) for _ in range(2)]
        chunks[spot] = kind, struct.pack(">II", *sides) + content[8:]
    elif choice == 4 and kind == b"IDAT":
        chunks[spot] = kind, zlib.compress(edit_bytes(zlib.decompress(content), draw))
    else:
        chunks[spot] = kind, edit_bytes(content, draw)
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return data[:8] + b"".join(parts)


def edit_segments(data: bytes, draw: Random) -> bytes:
    """One segment of a JPEG: its content, its length, its marker; left out, repeated or moved."""
    at, segments = 2, []
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        segments.append(data[at : at + 2 + length])
        at += 2 + length
    spot = draw.randrange(len(segments))
    part = bytearray(segments[spot])
    choice = draw.randrange(6)
    if choice == 0:
        del segments[spot]
    elif choice == 1:
        segments.insert(draw.randrange(len(segments)), bytes(part))
    else:
        if choice == 2:
            part[2:4] = struct.pack(">H", draw.choice((0, 1, 2, 3, len(part), 65535)))
        elif choice == 3:
            part[1] = draw.choice((0xC0, 0xC1, 0xC2, 0xC4, 0xD9, 0xDB, 0xE1, 0xFE, 0xFF, 0x00))
        elif choice == 4 and part[1] in (0xC0, 0xC2):
            part[5:9] = struct.pack(">HH", draw.choice((0, 1, 12, 65535)), draw.choice((0, 1, 16, 65535)))
        else:
            part[4:] = edit_bytes(bytes(part[4:]), draw)
        segments[spot] = bytes(part)
    return data[:2] + b"".join(segments) + data[at:]


def write_tar(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar of members as they say of themselves, sizes that are lies included."""
    buffer = io.BytesIO()
    for member, content in members:
        buffer.write(member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        buffer.write(content + bytes(-len(content) % 512))
    return buffer.getvalue() + bytes(2 * 512)


def member_of(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a tar."""
    found = tarfile.TarInfo(name)
    found.size = len(content)
    return found, content


def edit_tar(data: bytes, draw: Random) -> bytes:
    """One member: its content by its own kind, its name, size or type; left out, repeated, moved; or bytes."""
    if draw.random() < 0.2:
        return edit_bytes(data, draw)
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = [(one, archive.extractfile(one).read() if one.isreg() else b"") for one in archive]
        spot = draw.randrange(len(members))
        member, content = members[spot]
        choice = draw.randrange(9)
        if choice == 0:
            del members[spot]
        elif choice == 1:
            members.insert(draw.randrange(len(members)), members[spot])
        elif choice == 2:
            key, _, end = member.name.rpartition(".")
            member.name = draw.choice((f"{key}.a.{end}", f"._{member.name}", f"{key}", f".{end}", f"é/{key}.{end}",
                f"../{key}.{end}", f"/{key}.{end}", f"{key}.{end.upper()}", "x" * 99 + f".{end}", f"\udcff{key}.{end}",
                f"{key}.png", f"{key}.json", f"{key}.txt", f"{key}.gif", f"{key}\n.{end}"))  # fmt: skip
        elif choice == 3:
            member.size = draw.choice((0, 1, member.size + 1, 2**31, 2**33 - 1, max(0, member.size - 1)))
        elif choice == 4:
            member.type = draw.choice((tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
                tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.CHRTYPE, b"Z"))  # fmt: skip
        elif choice == 5:
            draw.shuffle(members)
        else:
            members[spot] = member_of(member.name, edit_file(member.name, content, draw))
        return write_tar(members)
    except (tarfile.TarError, ValueError, AttributeError, OSError, EOFError, IndexError, KeyError):  # an earlier edit's
        return edit_bytes(data, draw)


def edit_tensor(value: torch.Tensor, draw: Random) -> torch.Tensor:
    """Another type, shape or number."""
    choice = draw.randrange(6)
    if choice == 0:
        return value.to(draw.choice(DTYPES))
    if choice == 1:
        return value.flatten() if value.ndim > 1 else value[None]
    if choice == 2:
        return value[: len(value) // 2].contiguous() if value.ndim else value.expand(3).contiguous()
    if choice == 3:
        return torch.empty(draw.choice(((), (0,), (1, 0, 3), (2, 2), (0, 4))))
    if choice == 4 and value.is_floating_point():
        return value * draw.choice((float("nan"), float("inf"), 0.0, 1e30))
    return value.transpose(0, -1).contiguous() if value.ndim > 1 else torch.cat([value.flatten()] * 2)


def edit_state(state: dict, draw: Random) -> None:
    """One entry of a state dict: its key, its tensor, or something in its place."""
    keys = list(state)
    if not keys:
        return
    key = draw.choice(keys)
    value = state[key]
    choice = draw.randrange(6)
    if choice == 0:
        del state[key]
    elif choice == 1:
        name = f"{key[: len(key) // 2]}.{draw.randrange(100)}.weight"
        state[draw.choice((f"module.{key}", key + "s", key[1:], "", "head.weight", f"blocks.99.{key}", name))] = (
            state.pop(key)
        )
    elif choice == 2:
        state[key] = state[draw.choice(keys)]
    elif isinstance(value, torch.Tensor):
        state[key] = edit_tensor(value, draw)
    else:
        state[key] = odd(draw)


def edit_safetensors(data: bytes, draw: Random) -> bytes:
    """Its header by structure, one of its tensors, or its bytes."""
    choice = draw.random()
    try:
        if choice < 0.35:
            (length,) = struct.unpack_from("<Q", data)
            header = json.dumps(edit_tree(json.loads(data[8 : 8 + length]), draw)).encode()
            return struct.pack("<Q", len(header)) + header + data[8 + length :]
        if choice < 0.8:
            state = load_safetensors(data)
            edit_state(state, draw)
            return save_safetensors({key: value.clone() for key, value in state.items()})
    except Exception:  # noqa: BLE001  what the format cannot hold, or an earlier edit's damage
        pass
    return edit_bytes(data, draw)


def edit_archive(data: bytes, draw: Random) -> bytes:
    """Of a file of torch.save: its state dict, its pickle with a new checksum, its members, or its bytes."""
    choice = draw.random()
    try:
        if choice < 0.5:
            content = torch.load(io.BytesIO(data), weights_only=True)
            holder = next((part for part in content.values() if isinstance(part, dict)), content)
            edit_state(holder if draw.random() < 0.8 else content, draw)
            buffer = io.BytesIO()
            torch.save(content, buffer)
            return buffer.getvalue()
        if choice < 0.85:
            return edit_members(data, draw)
    except Exception:  # noqa: BLE001  an earlier edit's damage
        pass
    return edit_bytes(data, draw)


def edit_members(data: bytes, draw: Random) -> bytes:
    """One member of a zip archive, with a checksum that fits."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(n for n in members if n.endswith("data.pkl")) if draw.random() < 0.7 else draw.choice(list(members))
    if draw.random() < 0.15:
        del members[name]
    else:
        members[name] = edit_bytes(members[name], draw)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for one, content in members.items():
            archive.writestr(one, content)
    return buffer.getvalue()


SUFFIXES: dict[str, Edit] = {
    ".json": edit_json, ".jsonl": edit_lines, ".csv": edit_lines, ".tsv": edit_lines, ".txt": edit_lines,
    ".py": edit_python, ".words": edit_words, ".tar": edit_tar, ".safetensors": edit_safetensors, ".pth": edit_archive,
    ".pt": edit_archive, ".bin": edit_archive,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"), edit_image),
}  # fmt: skip


def edit_file(name: str, data: bytes, draw: Random) -> bytes:
    """One edit of a file as its suffix says it is."""
    return SUFFIXES.get(PurePosixPath(name).suffix.lower(), edit_bytes)(data, draw)
