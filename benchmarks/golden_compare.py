"""Which values of the golden file changed, in one line each; and the file's own form."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.files import write_bytes, write_text
from engine.provenance import hardware, versions
from engine.run_folder import flatten

SCHEMA, VERSION = "densebench/golden", 1
# What the order of additions in one processor's and one torch's kernels decides, to the last bit.
BOUND = ("weights", "curve", "metrics")
TOLERANCE = 1e-3  # relative: a number that departs by more on another machine is named in its note
SHOWN = 3  # names that are written out of those that share a difference


def machine() -> dict[str, str]:
    """What weights to the last bit hold for: torch's build, what runs its kernels, and the libraries beside it."""
    about = hardware()
    return {**versions(), "device": about["device"], "cpu": about["cpu"]}


def differences(golden: Mapping[str, Any] | None, found: Mapping[str, Any] | str | None) -> list[str]:
    """One sentence for each value of an entry that is another, is gone or is new.

    Args:
        golden: the entry as it was written down; None where it was not.
        found: the entry as it is; why it could not be made; None where it was not looked at.
    """
    if isinstance(found, str):
        return [] if golden is None else [f"cannot be made any more: {found}"]
    if found is None:
        return ["is missing"]
    if golden is None:
        return ["is new: not in the golden file"]
    old, new = flatten(golden), flatten(found)
    lines = []
    for key in sorted(old.keys() | new.keys()):
        if key not in new:
            lines.append(f"{key} is gone, was {shown(old[key])}")
        elif key not in old:
            lines.append(f"{key} is new: {shown(new[key])}")
        elif json.dumps(old[key]) != json.dumps(new[key]):  # 1 and 1.0 and True are three values
            lines.append(f"{key} was {shown(old[key])}, is {shown(new[key])}")
    return lines


def shown(value: Any) -> str:
    """A value in at most about 80 letters; a hash keeps its beginning."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:60]} ... ({len(text)} letters)"


def portable(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A run's entry without what holds for one machine only."""
    return {key: value for key, value in entry.items() if key not in BOUND}


def departures(golden: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """On another machine than the golden file's: the number of curve and metrics that departs most, if by more than
    `TOLERANCE`. Weights are not compared: hashes know no near."""
    old, new = (flatten({key: entry.get(key, {}) for key in ("curve", "metrics")}) for entry in (golden, found))
    numbers = [key for key in old.keys() & new.keys() if isinstance(old[key], int | float) and old[key] != new[key]]
    scaled = [(abs(old[key] - new[key]) / max(abs(old[key]), abs(new[key])), key) for key in numbers]
    most, key = max(scaled, default=(0.0, ""))
    named = [f"{name} stands in one of the two alone" for name in sorted(old.keys() ^ new.keys())]
    return named + ([f"{key} departs by {most:.2g} of itself"] if most > TOLERANCE else [])


def grouped(found: Mapping[str, list[str]]) -> list[str]:
    """{name of an entry: its sentences} as lines in which entries that changed alike share one."""
    owners: dict[str, list[str]] = {}
    for name, sentences in found.items():
        for sentence in sentences:
            owners.setdefault(sentence, []).append(name)
    lines = []
    for sentence, named in owners.items():
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        lines.append(f"{', '.join(named[:SHOWN])}{more}: {sentence}")
    return lines


def read(path: Path) -> dict[str, Any]:
    """The golden file, with the sections of its configurations from the file beside it.

    Raises:
        UserError: one of the two is absent, damaged, of another version, or not of the other's making.
    """
    try:
        document = json.loads(path.read_text())
        stored = json.loads(gzip.decompress(beside(path).read_bytes()))
        about = (document["schema"], document["version"])
        if about != (SCHEMA, VERSION):
            raise UserError(f"{path} is {about[0]} version {about[1]}, this code reads {SCHEMA} {VERSION}: write anew")
        listed = {name: stored["configurations"][name] for name in document["configurations"]}
        document["sections"] = {
            name: {key: stored["sections"][mark] for key, mark in marks.items()} for name, marks in listed.items()
        }
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} or {beside(path).name} beside it cannot be read ({type(error).__name__}: {error}): restore both "
            "from git, or make them by `write`"
        ) from None
    document["marks"] = listed
    return document


def write(
    path: Path, document: Mapping[str, Any], marks: Mapping[str, dict[str, str]], pool: Mapping[str, Any]
) -> None:
    """Write the golden file in a form whose diff a person can read, and the sections' contents beside it.

    Args:
        path: where to.
        document: machine, runs by name, a hash of each configuration by name.
        marks: the hash of each section of each configuration.
        pool: content of each section by its hash, once for all configurations that share it.
    """
    text = json.dumps({"configurations": marks, "sections": pool}, sort_keys=True, separators=(",", ":"))
    write_bytes(beside(path), gzip.compress(text.encode(), mtime=0))
    write_text(path, readable({"schema": SCHEMA, "version": VERSION, **document}, levels=3) + "\n")


def beside(path: Path) -> Path:
    """The file of the sections' contents."""
    return path.with_name(f"{path.stem}_sections.json.gz")


def readable(value: Any, levels: int, indent: str = "") -> str:
    """JSON with a line for each key of the outer `levels`, and one line for whatever is further in."""
    if not levels or not isinstance(value, dict) or not value:
        return json.dumps(value, allow_nan=False)
    inner = indent + " "
    rows = [f"{inner}{json.dumps(key)}: {readable(item, levels - 1, inner)}" for key, item in value.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
