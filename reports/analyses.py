"""The result of an analysis, `analysis.json` with its figure beside it: the writer, the strict reader, the scan.

The format is written down in `analysis_schema.json`. Like a result record it is written once and never changed.
"""

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from engine.errors import UserError, printable
from engine.files import write_json, write_text
from reports.records import Unused
from reports.strict_json import load, one_line

SCHEMA, VERSION = "densebench/analysis", 1
FILE_NAME, FIGURE = "analysis.json", "figure.svg"


@dataclass(frozen=True)
class Analysis:
    """A valid result: `data` follows the schema, `path` is relative to the scanned root, the figure is in `folder`."""

    path: str
    folder: Path
    data: dict[str, Any]


def check_free(folder: str | Path) -> None:
    """Raise `UserError` if `folder` holds a result already, which is never overwritten, or cannot be a folder."""
    if files := [place for place in (Path(folder), *Path(folder).parents) if place.is_file()]:
        raise UserError(f"{folder}: {files[0]} is a file, not a folder; name another folder.")
    path = Path(folder) / FILE_NAME
    if path.exists():
        raise UserError(f"{path}: an analysis is already there; delete it to repeat it, or name another folder.")


def write_analysis(folder: str | Path, document: dict[str, Any], figure: str) -> Path:
    """Write a figure and then `analysis.json`, both atomically, and return the latter's path.

    Args:
        folder: made if it is not there.
        document: every field of the schema but schema, version and figure.
        figure: text of the SVG file.

    Raises:
        UserError: a result that breaks the schema or holds a number that is not finite, or one already there.
    """
    check_free(folder)
    path = Path(folder) / FILE_NAME
    document = {"schema": SCHEMA, "version": VERSION, **document, "figure": FIGURE}
    try:
        document = json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: the result cannot be written as JSON ({error}); nothing was written.") from None
    _check(document, str(path))
    write_text(path.with_name(FIGURE), figure)
    write_json(path, document)
    return path


def read_analysis(path: str | Path) -> dict[str, Any]:
    """Return the result in the file `path`.

    Raises `UserError` with one sentence for a file that `strict_json.load` refuses, another schema or version, anything
    the schema does not allow, or a figure that is not there.
    """
    path = Path(path)
    document = load(path)
    _check(document, str(path))
    if not os.path.isfile(path.parent / document["figure"]):
        raise UserError(f"{path}: its figure {document['figure']} is not beside it.")
    return document


def scan_analyses(root: str | Path) -> tuple[list[Analysis], list[Unused]]:
    """Read every `analysis.json` below `root`; return the usable ones and, with reasons, the others, in path order."""
    root = Path(root)
    found, unused = [], []
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        if FILE_NAME in names:
            path = Path(folder) / FILE_NAME
            relative = printable(path.relative_to(root).as_posix())
            try:
                found.append(Analysis(relative, path.parent, read_analysis(path)))
            except UserError as error:
                unused.append(Unused(relative, str(error).removeprefix(f"{printable(str(path))}: ")))
    return sorted(found, key=lambda a: a.path), sorted(unused, key=lambda u: u.path)


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(Path(__file__).with_name("analysis_schema.json").read_text()))


def _check(document: Any, where: str) -> None:
    """Raise `UserError` naming the first thing in `document` that breaks the schema; `where` opens the sentence."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise UserError(f"{where}: not an analysis (its schema is {found!r}, not {SCHEMA!r}).")
    if document.get("version") != VERSION or isinstance(document["version"], bool):
        raise UserError(f"{where}: version {document.get('version')!r}, but this reader knows {VERSION} only.")
    error = jsonschema.exceptions.best_match(_validator().iter_errors(document))
    if error is not None:
        place = ".".join(map(str, error.absolute_path)) or "the result"
        raise UserError(f"{where}: {place} breaks the schema of analyses: {one_line(error.message)}.")
