"""Whatever `--encoder` names, as a checkpoint folder, and the encoders that a study compares.

Published weights are converted once, into `runs/encoders`, and found there again.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import backbones
from backbones.checkpoint import ENCODER, META
from engine.catalogue import PRETRAIN
from engine.errors import UserError
from engine.names import did_you_mean
from engine.provenance import REPOSITORY, digest
from engine.run_path import RUNS, parse_checkpoint
from study.overlays import learned_from

KEPT = RUNS / "encoders"
LONGEST = 40  # characters of a name within a folder's name
HUBS = ("timm:", "hf:")
RANDOM = "random"  # the method that learns nothing, and so from no data
SEED = "{seed}"  # in a study's word for an encoder: the seed of fine-tuning stands there
WEIGHTS = (".pth", ".pt", ".tar", ".bin", ".safetensors")  # endings of files, which no checkpoint folder has


def methods() -> list[str]:
    """The names of all methods: those of the configurations of pretraining."""
    return sorted(path.stem for path in (REPOSITORY / PRETRAIN.config).parent.glob("*.py"))


def slug(text: str) -> str:
    """Text as a part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._")[:LONGEST].strip("-._") or "encoder"


def checkpoint_of(source: str | Path, format: str = "auto", options: Mapping[str, Any] | None = None) -> Path:
    """The checkpoint folder of whatever `--encoder` takes but a method's name.

    Args:
        source: a checkpoint folder, or the place where a pretraining will leave one; a published file or folder,
            `timm:NAME.TAG`, `hf:ORG/REPO`, `FORMAT:FILE`: these are converted, once.
        format, options: of a published file, as those of tools/convert.py.

    Raises:
        UserError: nothing of these, or what does not convert.
    """
    source, format = split_format(str(source), format)
    folder = Path(source)
    if backbones.checkpoint_exists(folder) and (folder / META).is_file():
        return folder
    file = Path(source.partition("@")[2] if source.startswith(HUBS) else source)
    if file.suffix in WEIGHTS and not file.exists():
        raise UserError(f"--encoder {source}: there is no file {file}; correct its path")
    if not source.startswith(HUBS) and not folder.exists():
        if parse_checkpoint(folder):
            return folder
        if folder.parent == Path():
            hint = did_you_mean(str(folder), methods())
            raise UserError(f"--encoder {folder} is neither a checkpoint folder nor a method{hint}")
        raise UserError(backbones.missing_checkpoint_message(folder))
    if (folder / "checkpoint" / META).is_file():
        raise UserError(f"--encoder {folder} is a run's folder: its checkpoint is {folder / 'checkpoint'}")
    from study.first_stage import made_once

    options = dict(options or {})
    about = digest({"source": identity(source), "format": format, "options": options})
    named = Path(source).stem if folder.exists() else source.partition("@")[0]
    kept = KEPT / f"{slug(named)}-{about[:8]}" / "checkpoint"
    with made_once(kept, f"{source} is wanted as a checkpoint") as lock:
        if lock is not None:
            from backbones.convert.bring import bring_in

            done = bring_in(source, str(kept), format, options)
            print(f"{source}: converted, once\n{done}", file=sys.stderr, flush=True)
    return kept


def split_format(source: str, format: str) -> tuple[str, str]:
    """(file, format) of `FORMAT:FILE`, which says what a file's layout leaves open; anything else as it is."""
    from backbones.convert import formats

    named, _, file = source.partition(":")
    return (file, named) if file and Path(file).exists() and named in formats() else (source, format)


def identity(source: str) -> list:
    """What tells a source from its next version without reading it: path, sizes and times of its files; of a hub's
    weights, their name."""
    hub, _, file = source.partition("@") if source.startswith(HUBS) else ("", "", source)
    if not file:
        return [hub]
    path = Path(file)
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    return [hub, str(path.resolve()), *((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files)]


@dataclass(frozen=True)
class Encoder:
    """One encoder of a study, a row of its tables.

    Attributes:
        id: its part of the runs' folders.
        method: of the suite, whose pretraining is part of the study; None: the checkpoint is there.
        folder: the checkpoint folder, where it is there; of the first seed, where each has one of its own.
        by_seed: checkpoint folders by seed, where each has one of its own.
        name: of its row; None: what its checkpoint says.
        weights: `id` of its pretraining, which several rows may share.
        options: configuration keys of its fine-tunings.
        recipe: configuration keys of its pretraining.
        data: overlay of what it is pretrained on; None: the scale's own data.
    """

    id: str
    method: str | None = None
    folder: Path | None = None
    name: str | None = None
    weights: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    by_seed: dict[int, Path] = field(default_factory=dict)
    data: str | None = None


ENTRY = {"encoder": str, "name": str, "options": Mapping, "pretrain": Mapping, "pretrain_data": str, "format": str,
         "convert": Mapping}  # fmt: skip


def row(
    entry: str | Mapping[str, Any],
    names: Mapping[str, str] | None = None,
    seeds: Sequence[int] = (),
    data: Sequence[str] = (),
) -> Encoder:
    """What a study file says of one encoder: its word for `--encoder`, or a dict of ENTRY's keys.

    Args:
        names: names of rows by the word for `--encoder`.
        seeds: what stands for SEED in that word, one after the other.
        data: overlays that methods are pretrained on, where the entry names none.

    Raises:
        UserError: an unknown key, a value of another type, no encoder, a method that no overlay serves, pretrainings of
            several seeds that differ in more than the seed, or as `checkpoint_of`.
    """
    stated = {"encoder": entry} if isinstance(entry, str) else entry
    if not isinstance(stated, Mapping) or not isinstance(stated.get("encoder"), str):
        raise UserError(f"encoders holds {entry!r}: write what --encoder takes, or dict(encoder=..., name=...)")
    for key, value in stated.items():
        if key not in ENTRY:
            raise UserError(f"encoder {stated['encoder']!r}: nothing reads {key!r}{did_you_mean(key, ENTRY)}")
        if not isinstance(value, ENTRY[key]):
            raise UserError(f"encoder {stated['encoder']!r}: {key} is {value!r}, which is no {ENTRY[key].__name__}")
    source = stated["encoder"]
    options, recipe = (dotted(stated.get(key, {})) for key in ("options", "pretrain"))
    name = stated.get("name") or (names or {}).get(source)
    of_pretraining = [key for key in ("pretrain", "pretrain_data") if stated.get(key)]
    if source in methods():
        if {"format", "convert"} & stated.keys():
            raise UserError(f"encoder {source!r} is a method: format and convert tell of published files")
        if of_pretraining and not name:
            raise UserError(f"encoder {source!r} has {of_pretraining[0]} and no name, by which alone tables can tell it"
                            f" from {source}'s other pretrainings: add name=...")  # fmt: skip
        if source == RANDOM and "pretrain_data" in stated:
            raise UserError(f"encoder {source!r} learns from no data: leave out pretrain_data")
        own = [stated["pretrain_data"]] if "pretrain_data" in stated else data
        return of_method(source, name, options, recipe, None if source == RANDOM else learned_from(source, own))
    if of_pretraining:
        raise UserError(
            f"encoder {source!r} is no method of the suite: {of_pretraining[0]} tells of those that the study pretrains"
        )
    how = stated.get("format", "auto"), stated.get("convert")
    by_seed = {seed: checkpoint_of(source.replace(SEED, str(seed)), *how) for seed in seeds if SEED in source}
    folder = by_seed[seeds[0]] if by_seed else checkpoint_of(source, *how)
    check_alike(by_seed)
    meta = backbones.read_checkpoint(folder)
    id = f"{slug(name or meta.get('name') or meta['method'])}-{meta['sha256'][ENCODER][:8]}"
    return Encoder(id, None, folder, name, "", options, by_seed=by_seed)


def of_method(
    method: str, name: str | None, options: dict[str, Any], recipe: dict[str, Any], data: str | None
) -> Encoder:
    """The row of a method, whose folders are named after what its pretraining departs in from the method's own."""
    departs = {"pretrain": recipe, "data": data} if data else recipe
    about = digest(departs)[:8] if departs else None
    id, made = ("-".join(filter(None, parts)) for parts in ((method, name and slug(name), about), (method, about)))
    return Encoder(id, method, None, name, made, options, recipe, data=data)


def dotted(stated: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}: what a command line can repeat (but for empty dicts), and one name for one recipe.

    Raises:
        UserError: a key that is stated twice, in both ways.
    """
    found: dict[str, Any] = {}
    for key, value in stated.items():
        new = dotted(value, f"{above}{key}.") if isinstance(value, Mapping) and value else {f"{above}{key}": value}
        if twice := found.keys() & new.keys():
            raise UserError(f"{min(twice)} is stated twice, as a key with dots and within a dict; keep one")
        found |= new
    return found


def check_alike(by_seed: Mapping[int, Path]) -> None:
    """Refuse pretrainings of several seeds that are not one encoder's: of another method, or the same weights twice.

    Raises:
        UserError: what differs, or does not.
    """
    metas = {folder: backbones.read_checkpoint(folder) for folder in by_seed.values()}
    holder: dict[str, Path] = {}  # of weights, by their checksum
    for folder, meta in metas.items():
        first = next(iter(metas))
        for key in ("method", "captions", "encoder", "image", "data", "samples_seen"):
            if meta[key] != metas[first][key]:
                raise UserError(
                    f"{folder} has {key} {meta[key]!r}, {first} has {metas[first][key]!r}: the seeds of one row are "
                    "pretrainings that differ in nothing else"
                )
        if (other := holder.setdefault(meta["sha256"][ENCODER], folder)) != folder:
            raise UserError(f"{folder} holds the weights of {other}: give each seed a pretraining of its own")
