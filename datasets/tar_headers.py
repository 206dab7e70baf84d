"""The headers of a tar shard: which samples it holds, and in which blocks of 512 bytes their parts begin.

Shards as webdataset and img2dataset write them consist of plain members, whose headers are read here one after the
other; everything else, damage included, is left to tarfile, whose verdict counts.
"""

import functools
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from datasets.images import is_image
from engine.errors import UserError

BLOCK = tarfile.BLOCKSIZE
PARTS = ("image", "txt", "json")
LARGEST = 2**32 - 4  # number of a block: they are stored as uint32, so a shard holds up to 2 TB
ABSENT, TWICE, DOTTED = range(LARGEST + 1, 2**32)  # in place of a block's number
FAULTS = {
    TWICE: "its key stands in the tar with several {part} members, so nothing tells which belong together",
    DOTTED: "a dot in the key of its image: WebDataset ends a key at the first dot; rename the members",
}
Sample = tuple[str, list[int]]  # key; the first block of each part's data, or ABSENT, TWICE, DOTTED
Member = tuple[str, int]  # name, first block of the data


def key_and_extension(member: str) -> tuple[str, str]:
    """A member's name -> (key of its sample, extension): a key is a path up to the first dot of its last part."""
    folder, _, name = member.rpartition("/")
    stem, _, extension = name.partition(".")
    return f"{folder}/{stem}" if folder else stem, extension.lower()


@functools.cache
def part_of(extension: str) -> tuple[int, int] | None:
    """A member's extension -> (place in PARTS, 0 or the fault DOTTED); None for members that are nobody's concern."""
    if is_image(f"x.{extension}"):
        return 0, DOTTED if "." in extension else 0
    return (PARTS.index(extension), 0) if extension in PARTS[1:] else None


def read_headers(path: Path) -> list[Sample]:
    """The samples of one tar in the order of their first members. Hidden members (macOS's ._*) are nobody's.

    Raises:
        UserError: no tar, or one that is cut short, damaged, or goes on after its end mark: what follows would be lost.
    """
    members, problem = plain_members(path), None
    if members is None:
        members, problem = any_members(path)
    samples = grouped(members)
    if problem is not None:
        raise UserError(
            f"shard {path} cannot be read ({problem}; {len(samples):,} samples stand before that): fetch it again or "
            "move it away"
        )
    return samples


def grouped(members: Iterable[Member]) -> list[Sample]:
    """Members by the samples that they are parts of; a second one of the same part makes the sample a fault."""
    samples: dict[str, list[int]] = {}
    for name, block in members:
        key, extension = key_and_extension(name)
        part = part_of(extension)
        if part is None or name.rpartition("/")[2].startswith("."):
            continue
        (place, fault), blocks = part, samples.setdefault(key, [ABSENT] * len(PARTS))
        if fault:  # KEY.seg.png is some other picture of a sample that has an image; alone its key has a dot
            if blocks[place] == ABSENT:
                blocks[place] = fault
        else:
            blocks[place] = block if blocks[place] in (ABSENT, DOTTED) else TWICE
    return list(samples.items())


def plain_members(path: Path) -> list[Member] | None:
    """The files of a tar that holds plain files and folders alone and is whole; None for any other.

    Headers lie far apart, so they are read one by one; their checksums are taken together.
    """
    members, headers = [], []
    try:
        with open(path, "rb", buffering=0) as file:
            descriptor, size = file.fileno(), os.fstat(file.fileno()).st_size
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # or the system reads the data between them too
            offset = 0
            while any(header := os.pread(descriptor, BLOCK, offset)):
                kind, offset = header[156:157], offset + BLOCK
                if kind == tarfile.REGTYPE:
                    members.append((plain_name(header), offset // BLOCK))
                    offset += -(-stated_size(header) // BLOCK) * BLOCK
                elif kind != tarfile.DIRTYPE:
                    return None
                headers.append(header)
            ends = len(header) == BLOCK and offset // BLOCK <= LARGEST
            return members if ends and only_zeros(descriptor, offset, size) and checksums_hold(headers) else None
    except (OSError, ValueError, tarfile.HeaderError):  # a number that is none, a name of another encoding
        return None


def plain_name(header: bytes) -> str:
    """A member's name by its header."""
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return (prefix + b"/" + name if prefix else name).decode()


def stated_size(header: bytes) -> int:
    """A member's bytes by its header. ValueError for a number that is none."""
    size = tarfile.nti(header[124:136])
    if size < 0:
        raise ValueError(f"size {size}")
    return size


def checksums_hold(headers: list[bytes]) -> bool:
    """Whether each header's checksum is the sum of its bytes, those of the checksum itself taken as blanks."""
    table = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, BLOCK)
    stated = [tarfile.nti(header[148:156]) for header in headers]
    return np.array_equal(table.sum(1) - table[:, 148:156].sum(1) + 8 * ord(" "), stated)


def only_zeros(descriptor: int, offset: int, size: int) -> bool:
    """Whether nothing but zeros follows."""
    return all(not any(os.pread(descriptor, 1 << 20, at)) for at in range(offset, size, 1 << 20))


def any_members(path: Path) -> tuple[list[Member], Exception | None]:
    """The files of a tar as tarfile reads it, and what stopped it before the end."""
    members, size = [], path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError("ends in the middle of a member")
                if member.isfile():
                    members.append((member.name, checked_block(member)))
            check_end(archive, size)
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:  # what damaged headers raise
        return members, error
    return members, None


def checked_block(member: tarfile.TarInfo) -> int:
    """Where a file's bytes begin. ReadError where they do not lie there in one piece of the stated size."""
    block, rest = divmod(member.offset_data, BLOCK)
    if rest or block > LARGEST or member.issparse():
        raise tarfile.ReadError(f"holds {member.name!r} in pieces, or beyond 2 TB")
    return block


def check_end(archive: tarfile.TarFile, size: int) -> None:
    """Raise ReadError unless an end mark of zeros, and nothing else, follows the last member that tarfile saw.

    tarfile takes a damaged or missing header for the end of the archive.
    """
    if archive.offset >= size:
        raise tarfile.ReadError("has no end mark: cut short, or still being written")
    archive.fileobj.seek(archive.offset)
    while rest := archive.fileobj.read(1 << 20):
        if rest.count(0) < len(rest):
            where = archive.fileobj.tell() - len(rest)
            raise tarfile.ReadError(f"is damaged, or two joined tars, after byte {where:,} of {size:,}")
