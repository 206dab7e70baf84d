"""Random access into image-text tar shards (WebDataset, img2dataset): an index of where each member's bytes lie."""

import functools
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from datasets.headers import CorruptSample
from datasets.images import IMAGE_SUFFIXES
from datasets.tar_headers import ABSENT, BLOCK, FAULTS, LARGEST, PARTS, Sample, read_headers, stated_size
from engine.caches import ensure_cached
from engine.errors import UserError
from engine.json_text import parse

VERSION = 3


def list_shards(root: Path, pattern: str) -> list[Path]:
    """The tar files of a folder that match `pattern`, sorted by name."""
    if not root.is_dir():
        raise UserError(f"there is no folder of image-text shards {root}: check root in the data section")
    shards = sorted(path for path in root.glob(pattern) if not path.name.startswith("."))
    if not shards:
        raise UserError(f"no shard {pattern} in {root}: put image-text tars there, or check root and pattern")
    return shards


def fingerprint(shards: list[Path]) -> str:
    """Names, sizes and times of shards as one hash, which names what is derived of them: a changed shard gets anew."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    return hashlib.sha256(json.dumps([VERSION, stats]).encode()).hexdigest()


def cache_folder(root: Path) -> Path:
    """Where derived files go: beside the shards' folder, or in the user's cache if that place is read-only."""
    parent = root.resolve().parent
    if os.access(parent, os.W_OK):
        return parent / f".{root.name}.index"
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "densebench" / hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]


class ShardIndex:
    """Samples of a shard folder in the order of file names, then of members.

    A tar's places are a file of their own, which is checked and memory-mapped when one of its samples is first asked
    for: 12 bytes a sample, which all processes share. Nothing else grows with the number of samples.

    Args:
        shards: the tar files. counts: how many samples each holds.
        places: gives where the parts of a tar's samples begin: uint32 [n, 3], as in `tar_headers.Sample`.

    Attributes: shards; first, int64 [len(shards) + 1]: samples before each tar, and of all.
    """

    OPEN = 256  # maps at once

    def __init__(self, shards: list[Path], counts: list[int], places: Callable[[Path], np.ndarray]) -> None:
        self.shards, self.places = shards, places
        self.first = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.open: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return int(self.first[-1])

    def owner(self, samples: int | np.ndarray) -> Any:
        """The numbers of the shards that hold these samples."""
        return np.searchsorted(self.first, samples, side="right") - 1

    def find(self, sample: int) -> tuple[int, int]:
        """A sample -> (number of its shard, place in it)."""
        number = int(self.owner(sample))
        return number, int(sample - self.first[number])

    def blocks(self, number: int) -> np.ndarray:
        """The places of one shard.

        Raises:
            UserError: a shard that holds another number of samples than was stated of it.
        """
        if number not in self.open:
            if len(self.open) == self.OPEN:
                del self.open[next(iter(self.open))]
            table = self.places(self.shards[number])
            wanted = int(self.first[number + 1] - self.first[number])
            if len(table) != wanted:
                raise UserError(
                    f"{self.shards[number]} holds {len(table):,} samples, but {wanted:,} by the index beside it "
                    f"(wids) or its statistics (img2dataset): make these again, or remove them"
                )
            self.open[number] = table
        return self.open[number]

    def keys(self, number: int) -> list[str]:
        """The names of one shard's samples, read from its headers."""
        return shard_keys(self.shards[number])

    def name(self, sample: int) -> str:
        """Where a sample lies, for messages: shard and key."""
        number, row = self.find(sample)
        return f"{self.shards[number]}:{self.keys(number)[row]}"

    def __getstate__(self) -> dict[str, Any]:
        """Maps belong to a process and do not travel."""
        return {**self.__dict__, "open": {}}


@functools.lru_cache(maxsize=4)
def shard_keys(shard: Path) -> list[str]:
    """The keys of a shard's samples: for messages and copies, too rare to be stored."""
    return [key for key, _ in read_headers(shard)]


def table_of(samples: list[Sample]) -> np.ndarray:
    """Where the parts of a shard's samples begin, uint32 [n, 3]."""
    return np.array([blocks for _, blocks in samples], np.uint32).reshape(-1, len(PARTS))


def stored_places(folder: Path, shard: Path) -> np.ndarray:
    """A shard's places, memory-mapped; their file is made from its headers where it is missing or damaged."""

    def make(temporary: Path) -> None:
        with open(temporary, "wb") as handle:
            np.save(handle, table_of(read_headers(shard)))

    mark = fingerprint([shard])[:16]
    path = ensure_cached(folder / "tars" / f"{shard.parent.name}-{shard.name}-{mark}.npy", make)
    return np.load(path, mmap_mode="r")


def count_samples(folder: Path, shard: Path) -> int | str:
    """How many samples a shard holds; or the sentence that says why it cannot be read."""
    try:
        return len(stored_places(folder, shard))
    except UserError as error:
        return str(error)


def each_count(shards: list[Path], folder: Path) -> Iterator[int | str]:
    """The outcome of `count_samples` for each shard, many at once where there are many."""
    count = functools.partial(count_samples, folder)
    if len(shards) < 2 * (os.cpu_count() or 1) or multiprocessing.current_process().daemon:
        yield from map(count, shards)
        return
    with multiprocessing.get_context("fork").Pool() as pool:
        yield from pool.imap(count, shards, chunksize=4)


def stated_counts(shards: list[Path]) -> list[int] | None:
    """How many samples each shard holds, by a wids index or img2dataset's statistics beside all of them, else None.

    Shards need not be read then before one of their samples is wanted.
    """
    folder = shards[0].parent
    for path in sorted(folder.glob("*.json")):
        known = read_document(path) if not path.name.endswith("_stats.json") else {}
        if "wids_version" in known and isinstance(known.get("shardlist"), list):
            listed = {Path(str(row.get("url"))).name: row.get("nsamples") for row in known["shardlist"]}
            return whole_numbers([listed.get(shard.name) for shard in shards])
    stats = (shard.with_name(f"{shard.stem}_stats.json") for shard in shards)
    return whole_numbers([read_document(path).get("successes") for path in stats])


def read_document(path: Path) -> dict[str, Any]:
    """A JSON object that somebody else wrote; empty where it is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def whole_numbers(values: list[Any]) -> list[int] | None:
    """The values, if all are counts."""
    return values if all(type(value) is int and value >= 0 for value in values) else None


def load_index(root: str | Path, pattern: str = "*.tar") -> ShardIndex:
    """The index of a folder of shards.

    The number of samples in each is taken from what was stored, if names, sizes and times still agree; else from a wids
    index or img2dataset's statistics; else from the headers of all, by as many processes as there are cores. Runs that
    want it at once make it once.
    """
    shards, folder = list_shards(Path(root), pattern), cache_folder(Path(root))

    def make(temporary: Path) -> None:
        counts = stated_counts(shards)
        if counts is None:
            bar = tqdm(each_count(shards, folder), "index of shards", len(shards), unit="tar", disable=len(shards) < 4)
            counts = list(bar)
            if faults := [found for found in counts if isinstance(found, str)]:
                raise UserError(faults[0] + (f" ({len(faults)} shards are faulty)" if len(faults) > 1 else ""))
        if not sum(counts):
            raise UserError(f"the shards in {shards[0].parent} hold no image of type {', '.join(IMAGE_SUFFIXES)}")
        temporary.write_text(json.dumps(counts))

    path = ensure_cached(folder / f"counts-{fingerprint(shards)[:16]}.json", make)
    return ShardIndex(shards, json.loads(path.read_text()), functools.partial(stored_places, folder))


class ShardReader:
    """Reads members' bytes by position; file descriptors are opened on first use, in each process for itself."""

    OPEN = 128

    def __init__(self, index: ShardIndex) -> None:
        self.index = index
        self.descriptors: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.index)

    def read(self, sample: int, part: int) -> bytes | None:
        """Bytes of part 0 (image), 1 (txt) or 2 (json) of a sample; None where it has no such part.

        Raises:
            CorruptSample: the shard does not say which bytes they are.
        """
        number, row = self.index.find(sample)
        block = int(self.index.blocks(number)[row, part])
        if block == ABSENT:
            return None
        if block > LARGEST:
            raise CorruptSample(FAULTS[block].format(part=PARTS[part]))
        if number not in self.descriptors:
            if len(self.descriptors) == self.OPEN:
                os.close(self.descriptors.pop(next(iter(self.descriptors))))
            self.descriptors[number] = os.open(self.index.shards[number], os.O_RDONLY)
        header = os.pread(self.descriptors[number], BLOCK, (block - 1) * BLOCK)
        return os.pread(self.descriptors[number], stated_size(header), block * BLOCK)

    def name(self, sample: int) -> str:
        """Where a sample lies, for messages: shard and key."""
        return self.index.name(sample)

    def __getstate__(self) -> dict:
        """Descriptors belong to a process and do not travel."""
        return {"index": self.index, "descriptors": {}}


def read_record(record: bytes | None) -> dict[str, Any]:
    """A sample's JSON, empty where it has none. CorruptSample if it is cut, not UTF-8 or no object."""
    try:
        fields = parse(record) if record is not None else {}
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
    """The JSON's "tags", lower-case, each once, without "#", or None without such a list. CorruptSample if damaged."""
    tags = read_record(record).get("tags")
    if not isinstance(tags, list):
        return None
    plain = (tag.strip().lstrip("#").lower() for tag in tags if isinstance(tag, str))
    return [tag for tag in dict.fromkeys(plain) if tag]
