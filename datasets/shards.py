"""Random access into image-text tar shards (WebDataset, img2dataset): an index of where each member's bytes lie."""

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.headers import CorruptSample
from datasets.images import IMAGE_SUFFIXES, is_image
from engine.caches import ensure_cached
from engine.errors import UserError

VERSION = 3
PARTS = ("image", "txt", "json")
ABSENT, TWICE, DOTTED = -1, -2, -3  # in place of an offset
FAULTS = {
    TWICE: "its key stands in the tar with several {part} members, so nothing tells which belong together",
    DOTTED: "a dot in the key of its image: WebDataset ends a key at the first dot; rename the members",
}


class ShardIndex(NamedTuple):
    """Samples of a shard folder in the order of file names, then of members.

    shards: the tar files; shard: int32 [n], which one; spans: int64 [n, 3, 2], (offset, size) in bytes of image, text
    and JSON, offset ABSENT where there is none, or one of FAULTS; keys: bytes [n], the samples' names.
    """

    shards: list[Path]
    shard: np.ndarray
    spans: np.ndarray
    keys: np.ndarray


def list_shards(root: Path, pattern: str) -> list[Path]:
    """The tar files of a folder that match `pattern`, sorted by name."""
    if not root.is_dir():
        raise UserError(f"there is no folder of image-text shards {root}: check root in the data section")
    shards = sorted(path for path in root.glob(pattern) if not path.name.startswith("."))
    if not shards:
        raise UserError(f"no shard {pattern} in {root}: put image-text tars there, or check root and pattern")
    return shards


def fingerprint(shards: list[Path]) -> str:
    """Names, sizes and times of the shards as one hash, which names the index: a changed shard gets a new one."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    return hashlib.sha256(json.dumps([VERSION, stats]).encode()).hexdigest()


def cache_folder(root: Path) -> Path:
    """Where derived files go: beside the shards' folder, or in the user's cache if that place is read-only."""
    parent = root.resolve().parent
    if os.access(parent, os.W_OK):
        return parent / f".{root.name}.index"
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "densebench" / hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]


def key_and_extension(member: str) -> tuple[str, str]:
    """A member's name -> (key of its sample, extension): a key is a path up to the first dot of its last part."""
    folder, _, name = member.rpartition("/")
    stem, _, extension = name.partition(".")
    return f"{folder}/{stem}" if folder else stem, extension.lower()


def part_of(extension: str) -> tuple[int, int] | None:
    """A member's extension -> (place in PARTS, 0 or the fault DOTTED); None for members that are nobody's concern."""
    if is_image(f"x.{extension}"):
        return 0, DOTTED if "." in extension else 0
    return (PARTS.index(extension), 0) if extension in PARTS[1:] else None


def read_headers(path: Path) -> list[tuple[str, list[tuple[int, int]]]]:
    """The samples of one tar: key and the spans of its parts. Hidden members (macOS's ._*) are nobody's.

    Raises:
        UserError: no tar, or one that is cut short, damaged, or goes on after its end mark: what follows would be lost.
    """
    samples: dict[str, list[tuple[int, int]]] = {}
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError("ends in the middle of a member")
                key, extension = key_and_extension(member.name)
                part = part_of(extension)
                if member.isfile() and part is not None and not member.name.rpartition("/")[2].startswith("."):
                    note_member(samples.setdefault(key, [(ABSENT, 0)] * len(PARTS)), part, member)
            check_end(archive, size)
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:  # what damaged headers raise
        raise UserError(
            f"shard {path} cannot be read ({error}; {len(samples):,} samples stand before that): fetch it again or "
            "move it away"
        ) from None
    return list(samples.items())


def note_member(spans: list[tuple[int, int]], part: tuple[int, int], member: tarfile.TarInfo) -> None:
    """Enter a member's place into its sample's spans; a second one of the same part makes the sample a fault."""
    place, fault = part
    if fault:  # KEY.seg.png is some other picture of a sample that has an image; alone it is an image with a dotted key
        if spans[place][0] == ABSENT:
            spans[place] = (fault, 0)
    elif spans[place][0] in (ABSENT, DOTTED):
        spans[place] = (member.offset_data, member.size)
    else:
        spans[place] = (TWICE, 0)


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


def build_index(shards: list[Path]) -> ShardIndex:
    """Read the headers of all shards."""
    keys, owners, spans = [], [], []
    for number, path in enumerate(tqdm(shards, desc="index of shards", unit="tar", disable=len(shards) < 4)):
        for key, parts in read_headers(path):
            keys.append(key.encode())
            owners.append(number)
            spans.append(parts)
    if not keys:
        raise UserError(f"the shards in {shards[0].parent} hold no image of type {', '.join(IMAGE_SUFFIXES)}")
    return ShardIndex(shards, np.array(owners, np.int32), np.array(spans, np.int64), np.array(keys))


def load_index(root: str | Path, pattern: str = "*.tar") -> ShardIndex:
    """The index of a folder of shards: from its cache if names, sizes and times still agree, else built and stored.

    Processes that want it at once build it once.
    """
    shards = list_shards(Path(root), pattern)
    mark = fingerprint(shards)
    path = cache_folder(Path(root)) / f"members-{mark[:16]}.npz"

    def make(temporary: Path) -> None:
        index = build_index(shards)
        with open(temporary, "wb") as handle:
            np.savez(handle, shard=index.shard, spans=index.spans, keys=index.keys)

    with np.load(ensure_cached(path, make), allow_pickle=False) as stored:
        return ShardIndex(shards, stored["shard"], stored["spans"], stored["keys"])


class ShardReader:
    """Reads members' bytes by position; file descriptors are opened on first use, in each process for itself."""

    OPEN = 128

    def __init__(self, index: ShardIndex) -> None:
        self.index = index
        self.descriptors: dict[int, int] = {}

    def read(self, sample: int, part: int) -> bytes | None:
        """Bytes of part 0 (image), 1 (txt) or 2 (json) of a sample; None where it has no such part.

        Raises:
            CorruptSample: the shard does not say which bytes they are.
        """
        offset, size = self.index.spans[sample, part].tolist()
        if offset == ABSENT:
            return None
        if offset < 0:
            raise CorruptSample(FAULTS[offset].format(part=PARTS[part]))
        number = int(self.index.shard[sample])
        if number not in self.descriptors:
            if len(self.descriptors) == self.OPEN:
                os.close(self.descriptors.pop(next(iter(self.descriptors))))
            self.descriptors[number] = os.open(self.index.shards[number], os.O_RDONLY)
        return os.pread(self.descriptors[number], size, offset)

    def name(self, sample: int) -> str:
        """Where a sample lies, for messages: shard and key."""
        return f"{self.index.shards[self.index.shard[sample]]}:{self.index.keys[sample].decode()}"

    def __getstate__(self) -> dict:
        """Descriptors belong to a process and do not travel."""
        return {"index": self.index, "descriptors": {}}


def read_record(record: bytes | None) -> dict[str, Any]:
    """A sample's JSON, empty where it has none. CorruptSample if it is cut, not UTF-8 or no object."""
    try:
        fields = json.loads(record) if record is not None else {}
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise CorruptSample("damaged JSON")
    return fields


def read_captions(text: bytes | None, record: bytes | None) -> dict[str, str | list[str]]:
    """All captions of a sample by name: "txt" (also "noisy", the alt text) and those of the JSON's "captions".

    A name may stand for a list of texts (several synthetic captions). img2dataset's JSON holds "caption" instead, which
    serves as "txt" where there is no text file. CorruptSample if the JSON is damaged or the text not UTF-8.
    """
    fields = read_record(record)
    found = {}
    if text is not None:
        try:
            found["txt"] = text.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise CorruptSample("its text is not UTF-8") from None
    elif isinstance(fields.get("caption"), str):
        found["txt"] = fields["caption"].strip()
    if "txt" in found:
        found["noisy"] = found["txt"]
    captions = fields.get("captions")
    if isinstance(captions, dict):
        for name, value in captions.items():
            if isinstance(value, str) or (value and isinstance(value, list) and all(isinstance(t, str) for t in value)):
                found[name] = value
    return found


def texts_of(found: dict[str, str | list[str]], captions: str) -> list[list[str]]:
    """The texts of each kind that `captions` ("a" or "a+b") names, in this order; none of a kind the sample lacks."""
    kinds = (found.get(name, []) for name in captions.split("+"))
    return [[texts] if isinstance(texts, str) else texts for texts in kinds]


def listed_tags(record: bytes | None) -> list[str] | None:
    """The JSON's "tags", lower-case, each once, without "#"; None where there is no such list.

    Raises:
        CorruptSample: a damaged JSON.
    """
    tags = read_record(record).get("tags")
    if not isinstance(tags, list):
        return None
    plain = (tag.strip().lstrip("#").lower() for tag in tags if isinstance(tag, str))
    return [tag for tag in dict.fromkeys(plain) if tag]
