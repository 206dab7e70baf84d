"""The folder of a run: who may begin in it, who may go on, and one process at a time."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
from mmengine.config import Config

from engine.errors import UserError
from engine.files import seal_holds, sealed, write_json, writing
from engine.provenance import code_version

SCHEMA, VERSION = "densebench/run", 1
LOCK = ".lock"  # in the run's folder: whoever holds it may write there
MEND = "delete that file alone; with --resume the states of that run are still checked by their own hash"
NAMED = 4  # differing settings written out in a refusal; the rest is counted


class FolderInUse(UserError):
    """Another process keeps a run's folder."""


@contextlib.contextmanager
def occupied(folder: str | Path) -> Iterator[None]:
    """Keep a run's folder for this process; the lock goes with the process, however that ends.

    It is a POSIX record lock, which forked processes do not share: a data loader's worker that outlives a killed run
    for some seconds does not keep the folder.

    Raises:
        FolderInUse: another process keeps it.
        UserError: it cannot be written.
    """
    folder = Path(folder)
    with writing(folder / LOCK):
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / LOCK, "a+")  # noqa: SIM115  the next line closes it
    with handle:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            handle.seek(0)
            raise FolderInUse(
                f"{folder} is in use by {handle.read().strip() or 'another process'}: wait for it, end it, or choose "
                "another --work-dir"
            ) from None
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}")
        handle.flush()
        yield


def open_run(cfg: Config, settings: dict[str, Any], command: str) -> None:
    """Make the run's folder ready and write its `run.json`.

    `settings` is `flatten(hashed_content(cfg))` of the configuration as loaded, before an encoder was bound to it.

    Starting anew removes the states of an unfinished run, so that they cannot be resumed by mistake later. States
    without a `run.json` are resumed by what they say themselves, the hash of their configuration.

    Raises:
        UserError: the folder holds a `run.json` this code does not read, or, with `resume`, an unfinished run with
            other settings (the message names them), or it was finished meanwhile.
    """
    folder = Path(cfg.work_dir)
    check_unfinished(folder)
    begun = read_run(folder) if (folder / "run.json").is_file() else None
    if cfg.resume and begun is not None:
        refuse_other_settings(folder, begun["config"], settings)
    elif not cfg.resume and (folder / "state").is_dir():
        shutil.rmtree(folder / "state")
    about = {
        "schema": SCHEMA,
        "version": VERSION,
        **{key: cfg[key] for key in ("task", "method", "scale", "seed")},
        "command": command,
        "code_version": code_version(),
        "config_hash": cfg.config_hash,
        "config": settings,
    }
    write_json(folder / "run.json", sealed(about))


def check_unfinished(folder: Path) -> None:
    """Refuse a folder where a finished run is, whose record is immutable, and a file in its place."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another --work-dir")
    for name, what in (("result.json", "finished result"), ("checkpoint/checkpoint.json", "finished pretraining")):
        if (folder / name).exists():
            raise UserError(
                f"{folder} already holds a {what}: choose another --work-dir, or delete that folder to run it again"
            )


def read_run(folder: Path) -> dict[str, Any]:
    """Read `run.json`.

    Raises:
        UserError: it is damaged, or of another schema or version.
    """
    path = folder / "run.json"
    schema = json.loads(Path(__file__).with_name("run_schema.json").read_text())
    try:
        document = json.loads(path.read_text())
        jsonschema.validate(document, schema)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}): {MEND}") from None
    except jsonschema.ValidationError as error:
        raise UserError(
            f"{path} is not of {SCHEMA} version {VERSION} ({error.message.splitlines()[0][:200]}): choose another "
            f"--work-dir, or {MEND}"
        ) from None
    if not seal_holds(document):
        raise UserError(f"{path} was altered after it was written (checksum differs): {MEND}")
    return document


def refuse_other_settings(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise UserError naming the settings in which a resumed run would differ from the one that was begun."""
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if changed:
        named = ", ".join(f"{key} {before.get(key)} -> {now.get(key)}" for key in changed[:NAMED])
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        raise UserError(
            f"{folder} was started with another configuration ({named}{more}): resume with the same arguments, or "
            "choose another --work-dir"
        )


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists as {dotted key: JSON value}; empty containers stay as they are."""
    if isinstance(value, dict) and value:
        pairs = value.items()
    elif isinstance(value, list | tuple) and value and any(isinstance(item, dict) for item in value):
        pairs = enumerate(value)
    else:
        return {prefix: json.loads(json.dumps(value, default=str))}
    result = {}
    for key, item in pairs:
        result |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return result
