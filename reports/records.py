"""The result record `result.json`: its one writer, its one strict reader and the scan of a runs folder.

The format is written down in `result_schema.json` and checked by `schema.py`, which adds the catalogue's tasks;
`migrations.py` brings older versions up to it. A record is immutable: a run writes it once, as its last act, and
everything a report shows is computed from records alone.
"""

import fnmatch
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from engine.errors import UserError, printable
from engine.files import SEAL, seal_holds, sealed, write_json
from reports.migrations import UNKNOWN, VERSION
from reports.schema import check
from reports.strict_json import load

FILE_NAME = "result.json"
MANY = 2000  # files from which processes of their own read faster than one


@dataclass(frozen=True)
class Record:
    """A valid record: `data` follows the schema, `path` below the root is for people, samples lie in `folder`."""

    path: str
    folder: Path
    data: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.data[key]


@dataclass(frozen=True)
class Unused:
    """A file that no table uses: `path` relative to the scanned root, and the reason in one sentence."""

    path: str
    reason: str


def write_record(folder: str | Path, record: dict[str, Any]) -> Path:
    """Check `record` against the schema and write it to `folder/result.json` atomically; return that path.

    Raises `UserError` for a record that breaks the schema, holds a number that is not finite, names a sample that is
    not in `folder`, or whose file is already there: records are never overwritten.
    """
    path = Path(folder) / FILE_NAME
    if path.exists():
        raise UserError(f"{path}: a record is already there and records are never overwritten; delete it to run again.")
    try:
        text = json.dumps(record, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: the record cannot be written as JSON ({error}); nothing was written.") from None
    if record.get("version") != VERSION:
        raise UserError(f"{path}: records are written as version {VERSION}, not {record.get('version')!r}.")
    check(json.loads(text), str(path))
    for sample in record["samples"]:
        for name in sample.values():
            if not (path.parent / name).is_file():
                raise UserError(f"{path}: the sample {name} is not in the record's folder; write it before the record.")
    write_json(path, sealed(record))
    return path


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the record in the file `path`, brought to the current version.

    Raises `UserError` with one sentence for a file that is missing, truncated, no JSON, of another schema or version,
    or at odds with the schema, including NaN, infinity and a key given twice.
    """
    document = load(path)
    if isinstance(document, dict) and not seal_holds(document):
        raise UserError(f"{path}: was altered after it was written (checksum differs); make it again.")
    record = check(document, str(path))
    record.pop(SEAL, None)
    return record


def scan(*roots: str | Path) -> tuple[list[Record], list[Unused]]:
    """Read every `result.json` below folders; return the usable records and, with reasons, every file not used.

    Both lists are in path order; of several folders, paths begin with the folder's name, or with its whole path where
    two have one name. Of identical records of one cell the first is used; records that contradict each other (one
    encoder, checkpoint, protocol, seed and settings, but other values) are all left out, because nothing tells which
    is right. Raises `UserError` if one is not a folder.
    """
    records: list[Record] = []
    unused: list[Unused] = []
    for root, prefix in zip(roots, prefixes(roots), strict=True):
        found, odd = _below(Path(root), prefix)
        records += found
        unused += odd
    records, repeated = _without_repeats(records)
    return sorted(records, key=lambda r: r.path), sorted(unused + repeated, key=lambda u: u.path)


def prefixes(roots: Sequence[str | Path]) -> list[str]:
    """What stands before the paths below each of several folders, so that no two are alike; nothing before one's."""
    names = [Path(root).name for root in roots]
    if len(roots) == 1:
        return [""]
    return [f"{name if names.count(name) == 1 else root}/" for name, root in zip(names, roots, strict=True)]


def _below(root: Path, prefix: str) -> tuple[list[Record], list[Unused]]:
    """Every record below a folder, and every file that looks like one and is none."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that holds the runs, for example runs/.")
    above = len(os.path.join(root, ""))
    paths, unused = _walk(root)
    records: list[Record] = []
    for path, content in _read_all(paths):
        if isinstance(content, str):
            unused.append(Unused(path, content))
        else:
            records.append(Record(prefix + printable(path[above:]), Path(path).parent, content))
    # the walk is over: all are known
    return records, [Unused(prefix + printable(one.path[above:]), one.reason) for one in unused]


def _walk(root: Path) -> tuple[Iterator[str], list[Unused]]:
    """The paths of the records below `root`, found while they are read, and a list that this fills with the rest."""
    unused: list[Unused] = []

    def unreadable(error: OSError) -> None:
        unused.append(Unused(error.filename, f"folder cannot be read ({error.strerror})"))

    def found() -> Iterator[str]:
        for folder, subfolders, names in os.walk(root, onerror=unreadable):  # text, not Path: a study has many files
            subfolders.sort()
            unused.extend(_odd_entries(folder, subfolders, names))
            if FILE_NAME in names:
                yield os.path.join(folder, FILE_NAME)

    return found(), unused


def _odd_entries(folder: str, subfolders: list[str], names: list[str]) -> Iterator[Unused]:
    """What a folder holds that looks like a record, or may lead to one, and is none."""
    for name in subfolders:
        path = os.path.join(folder, name)
        if name == FILE_NAME:
            yield Unused(path, "a folder, not a record")
        elif os.path.islink(path):
            yield Unused(path, "a link to a folder, which is not followed; name that folder itself")
    for name in names:
        if fnmatch.fnmatch(name, f".{FILE_NAME}.*.tmp"):
            yield Unused(os.path.join(folder, name), "left by a write that was interrupted")


def _read_all(paths: Iterator[str]) -> list[tuple[str, dict[str, Any] | str]]:
    """Each path with its record, or the reason why it is none; many are read by a process per core, from when the
    first are found."""
    first = list(islice(paths, MANY))
    if len(first) < MANY:
        return list(map(_read_or_reason, first))
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(_read_or_reason, chain(first, paths), chunksize=MANY // 10))


def _read_or_reason(path: str) -> tuple[str, dict[str, Any] | str]:
    try:
        return path, read_record(path)
    except UserError as error:
        return path, str(error).removeprefix(f"{printable(path)}: ")


def cell(record: Record) -> tuple:
    """Return the place that a record claims in the tables: encoder by name, protocol, data and seed."""
    keys = ("scale", "protocol", "dataset", "split", "tested_on", "role", "task", "name", "method", "captions", "seed")
    return tuple(record[key] for key in keys)


CHOICES = ("lr", "layer_decay", "iterations", "global_batch", "precision", "train_images", "options")
"""Settings by which runs of one encoder are rows of their own. The number of processes that share a batch is none."""


def claim(record: Record) -> dict[str, Any]:
    """Return what else tells two runs of one cell apart: the encoder's weights, what they were trained on, and the
    settings of fine-tuning. None stands for what a record does not say."""
    checkpoint = record["checkpoint"]
    encoder = json.dumps(checkpoint["encoder"], sort_keys=True) if checkpoint else None
    chosen = {key: record["settings"][key] for key in CHOICES}
    return {"sha256": checkpoint and checkpoint["sha256"], "encoder": encoder, "data": pretrained_on(record),
            **chosen, "options": tuple(chosen["options"])}  # fmt: skip


def pretrained_on(record: Record) -> tuple[str, int | None] | None:
    """(name, different samples) of the set that a record's encoder was pretrained on; None where it does not say."""
    data = record["budget"]["pretrain_data"]
    return None if data["name"] == UNKNOWN else (data["name"], data["samples"])


def _without_repeats(records: Iterable[Record]) -> tuple[list[Record], list[Unused]]:
    """Keep one record per cell and claim, and name the others; see `scan` for the rule."""
    cells: dict[tuple, list[Record]] = defaultdict(list)
    for record in records:
        cells[cell(record)].append(record)
    kept: list[Record] = []
    unused: list[Unused] = []
    for members in cells.values():
        finished: dict[tuple, list[Record]] = defaultdict(list)
        failed: dict[tuple, list[Record]] = defaultdict(list)
        for record in members:
            (finished if record["status"] == "ok" else failed)[tuple(claim(record).values())].append(record)
        for group in finished.values():
            _settle(group, kept, unused)
        for claimed, group in failed.items():
            repeated = next((runs[0] for other, runs in finished.items() if _repeats(claimed, other)), None)
            if repeated:  # a repeated run that succeeded replaces the one that failed
                unused += [Unused(r.path, f"failed ({r['error']}), but {repeated.path} finished the same cell")
                           for r in group]  # fmt: skip
            else:
                _settle(group, kept, unused)
    return kept, unused


def _settle(group: list[Record], kept: list[Record], unused: list[Unused]) -> None:
    """Of records with one claim to one cell keep the first; where they contradict each other, none."""
    first, others = group[0], group[1:]
    if all(first["metrics"] == other["metrics"] for other in others):
        kept.append(first)
        unused += [Unused(other.path, f"duplicate of {first.path}") for other in others]
        return
    for record in group:
        partner = next(other.path for other in group if other is not record)
        reason = f"contradicts {partner}: same encoder, settings and seed, but other metric values; keep the right one"
        unused.append(Unused(record.path, reason))


def _repeats(failed: tuple, finished: tuple) -> bool:
    """Whether a failed run claims what a finished one does, as far as it came to know it."""
    return all(own in (None, other) for own, other in zip(failed, finished, strict=True))
