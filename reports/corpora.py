"""A study in one file: its records and thinned training curves as compressed JSON lines, read like the runs themselves.

The first line says what follows: schema, version, the number of records, and the versions of the code that made them.
Each further line is a record with its path below the runs' folder and its curve. Pictures stay behind. The same runs
give the same bytes. `zcat` shows what a corpus holds; docs/formats.md, "Corpus".
"""

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from engine.errors import UserError
from engine.files import sealed, write_bytes
from reports import curves
from reports.records import FILE_NAME, Record, scan
from reports.words import listed

SCHEMA, VERSION, SUFFIX = "densebench/corpus", 1, ".jsonl.gz"


def pack(roots: Sequence[str | Path], out: str | Path) -> str:
    """Write the final records of runs' folders and corpora into the corpus `out`; returns what went in, in a sentence.

    Raises:
        UserError: another suffix, no final record, a record in two of them, or files that are no usable records: a
            corpus leaves nothing out.
    """
    if not str(out).endswith(SUFFIX):
        raise UserError(f"{out}: a corpus is called NAME{SUFFIX}")
    with contextlib.ExitStack() as open_corpora:
        folders = [open_corpora.enter_context(opened(root)) for root in roots]
        records, unused = scan(*folders)
        named = listed([str(root) for root in roots])
        if unused:
            first = unused[0]
            raise UserError(f"{named}: {first.path} is no usable record ({first.reason}): mend or remove it first")
        finals = [record for record in records if record["role"] == "final"]
        if not finals:
            raise UserError(f"{named}: no final result record; name the folder of a finished study")
        lines = [
            {"path": place, "record": sealed({**r.data, "samples": []}), "curve": curve(r)}
            for place, r in sorted(zip(_places(finals, folders), finals, strict=True), key=lambda pair: pair[0])
        ]
    commits = sorted({json.dumps(record["code_version"], sort_keys=True) for record in finals})
    head = {"schema": SCHEMA, "version": VERSION, "records": len(finals), "code": [json.loads(one) for one in commits]}
    text = "".join(json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in [head, *lines])
    write_bytes(out, gzip.compress(text.encode(), mtime=0))
    return f"{out}: {len(finals)} records of {len(commits)} version{'s' * (len(commits) > 1)} of the code"


def _places(records: list[Record], folders: list[Path]) -> list[str]:
    """Each record's path in a corpus: below its folder, which several are told apart by; none leads out of it."""
    names = [folder.resolve().name.removesuffix(SUFFIX) for folder in folders]
    numbered = [f"{name}-{k}" if names.count(name) > 1 else name for k, name in enumerate(names, 1)]
    above = dict(zip(folders, numbered, strict=True)) if len(folders) > 1 else {folders[0]: ""}
    places = []
    for record in records:
        folder = next(folder for folder in folders if record.folder.is_relative_to(folder))
        places.append(PurePosixPath(above[folder], record.folder.relative_to(folder), FILE_NAME).as_posix())
    return places


def curve(record: Record) -> list[dict[str, Any]]:
    """The points that a report draws of a record's training curve; none where it has no readable one."""
    try:
        return [{"iteration": k, "loss": loss} for k, loss in zip(*curves.read_curve(record), strict=True)]
    except (OSError, ValueError):
        return []


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Path]:
    """The folder of runs that `path` is; of a corpus, one with its records that is there while the body runs.

    Raises:
        UserError: neither a folder nor a whole corpus.
    """
    path = Path(path)
    if path.is_dir() or not path.is_file():  # what is not there is told by who reads it
        yield path
        return
    with TemporaryDirectory() as folder:
        for line in _lines(path):
            place = Path(folder, path.name, line["path"]).parent
            place.mkdir(parents=True)
            (place / FILE_NAME).write_text(json.dumps(line["record"]))
            if line["curve"]:
                (place / curves.FILE_NAME).write_text("".join(json.dumps(row) + "\n" for row in line["curve"]))
        yield Path(folder, path.name)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The records' lines of a corpus."""
    mend = f"give a corpus (NAME{SUFFIX}) that is whole, or a folder of runs"
    try:
        head, *lines = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())
        if (head["schema"], head["version"]) != (SCHEMA, VERSION) or head["records"] != len(lines):
            raise ValueError(f"its first line is {str(head)[:80]} and {len(lines)} records follow")
        places = [PurePosixPath(line["path"]) for line in lines]
        if any(place.is_absolute() or ".." in place.parts or place.name != FILE_NAME for place in places):
            raise ValueError("a record's path leads out of it")
        if len({*places}) < len(lines) or any(not isinstance(line["curve"], list) for line in lines):
            raise ValueError("a record stands twice or has no curve")
    except OSError as error:  # gzip's BadGzipFile is one, without a number
        raise UserError(f"{path} cannot be read ({error.strerror or error}): {mend}") from None
    except (ValueError, KeyError, TypeError, EOFError, zlib.error, RecursionError) as error:
        raise UserError(f"{path} is no corpus ({type(error).__name__}: {str(error)[:200]}): {mend}") from None
    return lines
