"""Random access into image-text tar shards (WebDataset, img2dataset): an index of where each member's bytes lie."""

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from engine.caches import ensure_cached
from engine.errors import UserError

VERSION = 2
IMAGES = ("png", "jpg", "jpeg", "webp")
PARTS = ("image", "txt", "json")
ABSENT = (-1, 0)


class ShardIndex(NamedTuple):
    """Samples of a shard folder in the order of file names, then of members.

    shards: the tar files; shard: int32 [n], which one; spans: int64 [n, 3, 2], (offset, size) in bytes of image, text
    and JSON, offset -1 where absent; keys: bytes [n], the samples' names.
    """

    shards: list[Path]
    shard: np.ndarray
    spans: np.ndarray
    keys: np.ndarray


def list_shards(root: Path, pattern: str) -> list[Path]:
    """The tar files of a folder that match `pattern`, sorted by name."""
    if not root.is_dir():
        raise UserError(f"there is no folder of image-text shards {root}: check root in the data section")
    shards = sorted(root.glob(pattern))
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


def read_headers(path: Path) -> list[tuple[str, list[tuple[int, int]]]]:
    """The samples of one tar: key and the spans of its parts."""
    samples: dict[str, list[tuple[int, int]]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                key, extension = key_and_extension(member.name)
                part = 0 if extension in IMAGES else PARTS.index(extension) if extension in PARTS[1:] else None
                if part is not None:
                    spans = samples.setdefault(key, [ABSENT] * len(PARTS))
                    spans[part] = (member.offset_data, member.size)
                if member.offset_data + member.size > path.stat().st_size:
                    raise tarfile.ReadError("ends in the middle of a member")
    except tarfile.TarError as error:
        raise UserError(f"shard {path} cannot be read ({error}): fetch it again or move it away") from None
    return list(samples.items())


def build_index(shards: list[Path]) -> ShardIndex:
    """Read the headers of all shards."""
    keys, owners, spans = [], [], []
    for number, path in enumerate(tqdm(shards, desc="index of shards", unit="tar", disable=len(shards) < 4)):
        for key, parts in read_headers(path):
            keys.append(key.encode())
            owners.append(number)
            spans.append(parts)
    if not keys:
        raise UserError(f"the shards in {shards[0].parent} hold no image of type {', '.join(IMAGES)}")
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
        """Bytes of part 0 (image), 1 (txt) or 2 (json) of a sample; None where it has no such part."""
        offset, size = self.index.spans[sample, part].tolist()
        if offset < 0:
            return None
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


def read_captions(text: bytes | None, record: bytes | None) -> dict[str, str | list[str]]:
    """All captions of a sample by name: "txt" (also "noisy", the alt text) and those of the JSON's "captions".

    A name may stand for a list of texts (several synthetic captions). img2dataset's JSON holds "caption" instead, which
    serves as "txt" where there is no text file.
    """
    fields = json.loads(record) if record else {}
    found = {}
    if text is not None:
        found["txt"] = text.decode("utf-8", errors="replace").strip()
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
    """The JSON's "tags", lower-case, each once, without "#"; None where there is no such list (ValueError: no JSON)."""
    tags = json.loads(record).get("tags") if record else None
    if not isinstance(tags, list):
        return None
    plain = (tag.strip().lstrip("#").lower() for tag in tags if isinstance(tag, str))
    return [tag for tag in dict.fromkeys(plain) if tag]
