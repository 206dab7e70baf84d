"""Key ledger: loading weights accounts for every key of the source and of the module, or fails with their names."""

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import torch
from torch import Tensor, nn

from engine.errors import UserError, some

SCHEMA, VERSION = "densebench/ledger", 1


@dataclass(frozen=True)
class Rules:
    """Explicit exceptions to "every key has its equal". Patterns are regular expressions that match the whole key.

    Attributes:
        rename: Source key to target key.
        drop: Pattern of source keys that are left out, with the reason.
        new: Pattern of target keys that keep their own initialisation when the source lacks them, with the reason.
        resize: Pattern of target keys, with a function (source tensor, target tensor) -> tensor of the target's shape.
            It returns the source tensor itself where nothing has to be done.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    drop: Mapping[str, str] = field(default_factory=dict)
    new: Mapping[str, str] = field(default_factory=dict)
    resize: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ledger:
    """What happened to each key; a renamed key may also be resized, every other key stands in one place only.

    Attributes:
        loaded: Keys whose tensor was taken as it is.
        renamed: Source key -> target key.
        resized: Target key -> (shape in the source, shape in the module).
        dropped: Source key -> reason.
        new: Target key -> reason.
    """

    loaded: tuple[str, ...]
    renamed: dict[str, str]
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    dropped: dict[str, str]
    new: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON value, keys sorted."""
        return {
            "loaded": sorted(self.loaded),
            "renamed": dict(sorted(self.renamed.items())),
            "resized": {key: [list(shape) for shape in shapes] for key, shapes in sorted(self.resized.items())},
            "dropped": dict(sorted(self.dropped.items())),
            "new": dict(sorted(self.new.items())),
        }

    def document(self) -> dict[str, Any]:
        """What `ledger.json` in a run's folder holds: schema, version, hash and every key (`ledger_schema.json`)."""
        return {"schema": SCHEMA, "version": VERSION, "hash": self.hash, **self.to_dict()}

    @property
    def hash(self) -> str:
        """SHA-256 of the ledger's canonical JSON."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def summary(self) -> str:
        """A line of counts, then one line for each key that was not simply loaded."""
        counts = {name: len(value) for name, value in self.to_dict().items()}
        lines = [", ".join(f"{count} {name}" for name, count in counts.items())]
        lines += [f"renamed {source} -> {target}" for source, target in sorted(self.renamed.items())]
        lines += [f"resized {key}: {_shape(old)} -> {_shape(new)}" for key, (old, new) in sorted(self.resized.items())]
        lines += [f"dropped {key}: {reason}" for key, reason in sorted(self.dropped.items())]
        lines += [f"new {key}: {reason}" for key, reason in sorted(self.new.items())]
        return "\n".join(lines)


def read_ledger(path: str | Path) -> Ledger:
    """Read a `ledger.json`.

    Raises:
        UserError: the file is missing, no JSON, at odds with `ledger_schema.json`, or its hash does not fit its keys.
    """
    schema = json.loads(Path(__file__).with_name("ledger_schema.json").read_text())
    try:
        document = json.loads(Path(path).read_text())
        jsonschema.validate(document, schema)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a key ledger ({type(error).__name__}): is it whole?") from None
    except jsonschema.ValidationError as error:
        raise UserError(f"{path} is no key ledger of {SCHEMA} version {VERSION}: {error.message}") from None
    shapes = {key: (tuple(old), tuple(new)) for key, (old, new) in document["resized"].items()}
    ledger = Ledger(tuple(document["loaded"]), document["renamed"], shapes, document["dropped"], document["new"])
    if ledger.hash != document["hash"]:
        raise UserError(f"{path}: the hash does not fit the keys, so the file was changed after it was written")
    return ledger


def load_exactly(
    module: nn.Module, source: Mapping[str, Tensor], rules: Rules | None = None, what: str = "the weights"
) -> Ledger:
    """Load `source` into `module` in place and account for every key; nothing is changed unless all keys fit.

    Args:
        module: Takes the weights; keeps its own dtype and device.
        source: Key -> tensor.
        rules: Explicit exceptions; none by default.
        what: Name of the source in messages.

    Raises:
        UserError: any key without a place, any parameter or buffer not filled, any other shape or kind of number.
    """
    rules = rules or Rules()
    target = module.state_dict()
    values: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    dropped: dict[str, str] = {}
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    unplaced, misfits = [], []
    for key, tensor in source.items():
        name = rules.rename.get(key, key)
        reason = _match(rules.drop, key)
        if reason is not None:
            dropped[key] = reason
            continue
        if name not in target:
            unplaced.append(key)
            continue
        if name in origin:
            raise UserError(f"{what}: {origin[name]} and {key} both go to {name}; correct the renaming rules")
        origin[name] = key
        resize = _match(rules.resize, name)
        value = resize(tensor, target[name]) if resize else tensor
        if value is not tensor:
            resized[name] = (tuple(tensor.shape), tuple(value.shape))
        if value.shape != target[name].shape or value.is_floating_point() != target[name].is_floating_point():
            misfits.append(f"{name} is {_describe(value)} in the file but {_describe(target[name])} in the model")
        values[name] = value
    new = {key: _match(rules.new, key) for key in target if key not in values}
    unfilled = [key for key, reason in new.items() if reason is None]
    if unplaced or unfilled or misfits:
        raise UserError(f"{what}: {_complaint(module, source, target, unplaced, unfilled, misfits)}")
    for key in new:
        values[key] = target[key]
    module.load_state_dict(values, strict=True)
    renamed = {key: name for name, key in origin.items() if name != key}
    loaded = tuple(name for name, key in origin.items() if name == key and name not in resized)
    return Ledger(loaded, renamed, resized, dropped, new)


def _complaint(
    module: nn.Module,
    source: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    unplaced: list[str],
    unfilled: list[str],
    misfits: list[str],
) -> str:
    """One line on all keys that do not fit, with likely renamings and the way out."""
    parts = []
    if unplaced:
        parts.append(f"{len(unplaced)} keys have no place ({some([f'{k} {_describe(source[k])}' for k in unplaced])})")
    if unfilled:
        parts.append(f"{len(unfilled)} are missing ({some([f'{k} {_describe(target[k])}' for k in unfilled])})")
    if misfits:
        parts.append(f"{len(misfits)} have another shape or type ({some(misfits)})")
    likely = []
    for key in unplaced:
        same_shape = [name for name in unfilled if target[name].shape == source[key].shape]
        likely += [f"{key} -> {name}" for name in difflib.get_close_matches(key, same_shape, n=1, cutoff=0.6)]
    hint = f"renamed? ({some(likely)}); " if likely else ""
    return (
        f"do not fit {type(module).__name__}: {'; '.join(parts)}; {hint}"
        "use the encoder that these weights were made with (in code: or state a rename, resize, drop or new rule)"
    )


def _match(rules: Mapping[str, Any], key: str) -> Any:
    """Value of the first rule whose pattern matches the whole key, or None."""
    return next((value for pattern, value in rules.items() if re.fullmatch(pattern, key)), None)


def _shape(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {_shape(tensor.shape)}"
