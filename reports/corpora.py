"""A study in one file: its records and thinned training curves as compressed JSON lines, read like the runs themselves.

The first line says what follows: schema, version, the number of records, and the versions of the code that made them.
Each further line is a record with its path below the runs' folder and its curve. Pictures stay behind. The same runs
give the same bytes. `zcat` shows what a corpus holds; docs/formats.md, "Corpus".
"""

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from engine.errors import UserError
from engine.files import sealed, write_bytes
from reports import curves
from reports.records import FILE_NAME, Record, scan

SCHEMA, VERSION, SUFFIX = "densebench/corpus", 1, ".jsonl.gz"


def pack(root: str | Path, out: str | Path) -> str:
    """Write the usable final records below a runs' folder into the corpus `out`; returns what went in, in a sentence.

    Raises:
        UserError: another suffix, no final record, or files that are no usable records: a corpus leaves nothing out.
    """
    if not str(out).endswith(SUFFIX):
        raise UserError(f"{out}: a corpus is called NAME{SUFFIX}")
    records, unused = scan(root)
    if unused:
        raise UserError(f"{root}: {unused[0].path} is no usable record ({unused[0].reason}): mend or remove it first")
    finals = [record for record in records if record["role"] == "final"]
    if not finals:
        raise UserError(f"{root}: no final result record below this folder; name the one of a finished study")
    commits = sorted({json.dumps(record["code_version"], sort_keys=True) for record in finals})
    head = {"schema": SCHEMA, "version": VERSION, "records": len(finals), "code": [json.loads(one) for one in commits]}
    lines = [head, *({"path": r.path, "record": sealed({**r.data, "samples": []}), "curve": curve(r)} for r in finals)]
    text = "".join(json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in lines)
    write_bytes(out, gzip.compress(text.encode(), mtime=0))
    return f"{out}: {len(finals)} records of {len(commits)} version{'s' * (len(commits) > 1)} of the code"


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
