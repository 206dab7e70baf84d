"""Study files: encoders x data sets x tasks x seeds x grid in a few lines of `study/configs`, or of one's own."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.config import read
from engine.errors import UserError
from engine.names import did_you_mean
from engine.provenance import REPOSITORY
from study.encoders import Encoder, dotted, row
from study.studies import Study

CONFIGS = REPOSITORY / "study" / "configs"
ALIASES = {"study": "full"}
GRID = ("lr", "layer_decay")


def number(value: Any) -> bool:
    """Whether a value is a number."""
    # within a float's range, which whole numbers of any length are not
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def list_of(kind: type) -> Any:
    """The test whether a value is a list of `kind`."""
    return lambda value: isinstance(value, list | tuple) and all(isinstance(one, kind) for one in value)


def is_grid(value: Any) -> bool:
    """Whether a value is a grid of learning rates and layer decays, or None."""
    lists = isinstance(value, Mapping) and all(isinstance(v, list | tuple) and v and all(map(number, v)) for v in
                                               value.values())  # fmt: skip
    return value is None or (lists and tuple(value) == GRID)


# What a study file may say: default, whether a value will do, and what it should be.
KEYS: dict[str, tuple[Any, Any, str]] = {
    "encoders": ((), list_of(str | Mapping), "a list of what --encoder takes, or of dict(encoder=..., name=...)"),
    "data": ((), list_of(str), "a list of data overlays"),
    "tasks": ((), list_of(str), "a list of tasks"),
    "scale": ("tiny", lambda value: isinstance(value, str), "a scale"),
    "seeds": ((0, 1, 2), lambda value: bool(value) and list_of(int)(value), "a list of whole numbers"),
    "grid": (None, is_grid, "dict(lr=(...), layer_decay=(...)), or None"),
    "options": ({}, lambda value: isinstance(value, Mapping), "a dict of what --cfg-options takes"),
    "pretrain_data": ((), list_of(str), "a list of data overlays"),
    "pretrain_anew": (False, lambda value: isinstance(value, bool), "True or False"),
    "baselines": (False, lambda value: isinstance(value, bool), "True or False"),
    "cluster": ({}, lambda value: isinstance(value, Mapping), "a dict of partition, time, memory, gpus, cpus, sbatch"),
    "floor": (False, lambda value: isinstance(value, bool), "True or False"),
}


def study_files() -> dict[str, Path]:
    """Name -> path of the studies that have a name."""
    return {path.stem: path for path in sorted(CONFIGS.glob("*.py"))}


def read_plan(study: str) -> dict[str, Any]:
    """What a study file says, by its name or its path; defaults where it is silent.

    Raises:
        UserError: no such study, a file that cannot be read, or as `complete`.
    """
    path = study_files().get(ALIASES.get(study, study), Path(study))
    if not path.is_file():
        hint = did_you_mean(study, study_files())
        raise UserError(f"{study} is neither a study file nor one of {', '.join(study_files())}{hint}")
    return complete(read(path).to_dict(), str(study))


def complete(stated: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A plan with the defaults of what it does not say.

    Raises:
        UserError: a name that nothing reads, a value of another type, or no encoders.
    """
    for key, value in stated.items():
        if key not in KEYS:
            raise UserError(f"{where}: nothing reads {key!r}{did_you_mean(key, KEYS)}")
        if not KEYS[key][1](value):
            raise UserError(f"{where}: {key} is {value!r}: write {KEYS[key][2]}")
    if not stated.get("encoders"):
        raise UserError(f"{where} names no encoders: write encoders = (...), {KEYS['encoders'][2]}")
    return {**{key: default for key, (default, _, _) in KEYS.items()}, **stated}


def grid_of(words: Mapping[str, Any] | None) -> dict[str, tuple[float, ...]] | None:
    """A grid of the command line; without words that of the full study. None: no search.

    Raises:
        UserError: other keys than those of a grid.
    """
    if words is None:
        return None
    if not words:
        return read_plan("full")["grid"]
    if {*words} != {*GRID}:
        raise UserError(f"--grid has {', '.join(words)}: write lr=1e-3,2e-3 layer_decay=0.65,0.9, or nothing behind it")
    return {key: tuple(words[key]) if isinstance(words[key], list | tuple) else (words[key],) for key in GRID}


def named(words: Sequence[str], encoders: Sequence[str]) -> dict[str, str]:
    """The names of ENCODER=NAME words. UserError for a word without a name, or for none of the encoders."""
    names = {}
    for word in words:
        fitting = [encoder for encoder in encoders if word.startswith(f"{encoder}=")]
        source = max(fitting, key=len, default=word.partition("=")[0])
        names[source] = word[len(source) + 1 :]
        if not names[source]:
            raise UserError(f"--name {word}: write ENCODER=NAME")
    return names


def study_of(plan: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Study:
    """The study of a plan; what is named twice is in it once, and files of equal weights are said to be one row.
    Published encoders are converted.

    Args:
        plan: from `read_plan` or `complete`.
        names: names of rows by the word for `--encoder`.

    Raises:
        UserError: no such encoder, two of one place, or a name for none of the encoders.
    """
    lists = ("tasks", "seeds", "data", "pretrain_data")
    tasks, seeds, data, pretrain_data = (tuple(dict.fromkeys(plan[key])) for key in lists)
    encoders: dict[tuple, Encoder] = {}
    words: dict[tuple, str] = {}
    known = [entry if isinstance(entry, str) else entry.get("encoder") for entry in plan["encoders"]]
    for entry, word in zip(plan["encoders"], known, strict=True):
        found = row(entry, names, seeds, pretrain_data)
        key = (found.id, repr(sorted(found.options.items())))
        encoders.setdefault(key, found)
        if words.setdefault(key, word) != word:
            print(f"note: {word} has the weights and the name of {words[key]}, so they are one row: name either",
                  file=sys.stderr)  # fmt: skip
    if strange := [source for source in names or {} if source not in known]:
        raise UserError(
            f"--name speaks of {strange[0]!r}, which is none of the encoders{did_you_mean(strange[0], known)}"
        )
    return Study(plan["scale"], tuple(encoders.values()), tasks, seeds, plan["grid"], anew=plan["pretrain_anew"],
                 data=data, options=dotted(plan["options"]), pretrain_data=pretrain_data, floor=plan["floor"],
                 baselines=plan["baselines"])  # fmt: skip
