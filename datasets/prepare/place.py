"""The folder that a data set is prepared into: links, converted folders, manifest and overlay, safe to repeat.

A link and a converted folder appear whole or not at all; `prepared.json` is written last, so its presence means that
the data were checked and can be trained on.
"""

import contextlib
import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from pprint import pformat
from textwrap import wrap
from typing import Any

from engine.errors import UserError
from engine.files import read_object, sha256, whole_folder, write_bytes, write_json, writing
from engine.provenance import REPOSITORY

SCHEMA, VERSION = "densebench/prepared", 1
AGAIN = "remove it, then prepare the data again"
MANIFEST, MARK, OVERLAY, MADE_FROM = "prepared.json", ".preparing.json", "overlay.py", ".made_from.json"


class Place:
    """One data set's folder.

    Args:
        out: the folder; kind: what `tools/prepare.py` was asked for; source: where the user has the data.

    Raises:
        UserError: the source is not there, or `out` was prepared from something else.
    """

    def __init__(self, out: Path, kind: str, source: Path) -> None:
        if not source.exists():
            raise UserError(f"there is no {source}: name the folder that holds the data you have")
        self.out, self.kind, self.source = out, kind, source
        self.name = re.sub(r"[^a-z0-9_]+", "-", out.name.lower()).strip("-")
        self.origin = {"kind": kind, "source": str(source.resolve())}
        known = read_manifest(out) or read_json(out / MARK) or self.origin
        if {key: known.get(key) for key in self.origin} != self.origin:
            raise UserError(
                f"{out} belongs to {known.get('kind')} from {known.get('source')}: choose another --out, or "
                "remove that folder first"
            )
        self.overlay_before = known.get("overlay_sha256")

    def begin(self) -> None:
        """Mark the folder as one whose preparation has not ended."""
        try:
            write_json(self.out / MARK, {**self.origin, "overlay_sha256": self.overlay_before})
        except OSError as error:
            raise UserError(f"{self.out} cannot be written ({error.strerror}): choose another --out") from None
        (self.out / MANIFEST).unlink(missing_ok=True)

    def link(self, target: str, source: Path) -> None:
        """Make out/target a link to `source`; nothing to do where it is the same file or folder already.

        Raises:
            UserError: something stands there that is no link into the source, or `out` lies inside `source`.
        """
        path = self.out / target
        if path.exists() and path.resolve() == source.resolve():
            return
        if self.out.resolve().is_relative_to(source.resolve()):
            raise UserError(f"{self.out} lies inside {source}, which it would link to: choose another --out")
        if os.path.lexists(path) and not (path.is_symlink() and path.resolve().is_relative_to(self.source.resolve())):
            raise UserError(f"{path} is in the way of a link to {source}: move it away, or choose another --out")
        self.begin()
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            aside.symlink_to(source.resolve())
            os.replace(aside, path)

    @contextlib.contextmanager
    def folder(self, target: str, made_from: dict[str, Any]) -> Iterator[Path | None]:
        """Build out/target aside and move it into place when the body ends well.

        Yields the folder to fill, or None where one made from the same is there already.

        Args:
            made_from: all that decides the content, as JSON; see `stamp`.
        """
        path = self.out / target
        if path.is_dir() and read_json(path / MADE_FROM) == made_from:
            yield None
            return
        if os.path.lexists(path) and not (path / MADE_FROM).is_file():
            raise UserError(f"{path} is in the way of a folder made from {self.source}: move it away, or choose "
                            "another --out")  # fmt: skip
        self.begin()
        with whole_folder(path, replace=True) as new:
            yield new
            write_json(new / MADE_FROM, made_from)

    def listing(self) -> str:
        """SHA-256 of the names, sizes and times of all files below `out`, through links."""
        digest = hashlib.sha256()
        for folder, folders, names in os.walk(self.out, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.startswith(".") or (Path(folder) == self.out and name in (MANIFEST, OVERLAY)):
                    continue
                path = os.path.join(folder, name)
                try:
                    found = os.stat(path)
                except OSError:  # a link whose file is gone
                    digest.update(os.fsencode(f"{path}\0gone\0"))
                    continue
                digest.update(os.fsencode(f"{os.path.relpath(path, self.out)}\0{found.st_size}\0{found.st_mtime_ns}\0"))
        return digest.hexdigest()

    def finished(self, settings: dict[str, Any], listing: str) -> dict[str, Any] | None:
        """The manifest, if the same was asked for before and no file has changed since.

        Raises:
            UserError: a file of the checksum sample has other bytes under the same size and time.
        """
        manifest = read_manifest(self.out)
        if manifest is None or manifest["listing"] != listing or manifest["settings"] != settings:
            return None
        for name, digest in manifest["checksums"].items():
            if not os.path.isfile(self.out / name) or sha256(self.out / name) != digest:
                raise UserError(
                    f"{self.out / name} has other bytes than when it was prepared, under the same size and time: "
                    f"restore it, or remove {self.out / MANIFEST} to check everything anew"
                )
        return manifest

    def next_command(self, command: str, overlay: bool) -> str:
        """A command of the checkout as a shell takes it in the current folder, on the overlay if there is one."""
        python, tool, *words = shlex.split(command)
        data = ["--data", str(self.out / OVERLAY)] if overlay else []
        return shlex.join([python, os.path.relpath(REPOSITORY / tool), *words, *data])

    def write_overlay(self, data: dict[str, Any], extra: dict[str, Any], command: str, remarks: str) -> str:
        """Write the data overlay unless the user has edited the one that is there; say which."""
        path = self.out / OVERLAY
        parts = [
            f'"""{self.name}, prepared by tools/prepare.py {self.kind}.',
            f"\n    {command}\n",
            *wrap(remarks, 110),
            '"""\n',
        ]
        parts += ["data = dict(", *(f"    {key}={pformat(value, width=110)}," for key, value in data.items()), ")"]
        parts += [f"{key} = {pformat(value, width=110)}" for key, value in extra.items()]
        text = ("\n".join(parts) + "\n").encode("utf-8", "backslashreplace")
        if path.is_file() and path.read_bytes() != text and sha256(path) != self.overlay_before:
            return f"{path} was edited and is kept"
        write_bytes(path, text)
        return str(path)

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest and take the mark of an unfinished preparation away."""
        overlay = self.out / OVERLAY
        checksum = sha256(overlay) if overlay.is_file() else None
        head = {"schema": SCHEMA, "version": VERSION, **self.origin, "name": self.name}
        write_json(self.out / MANIFEST, {**head, **manifest, "overlay_sha256": checksum})
        (self.out / MARK).unlink(missing_ok=True)


def stamp(path: Path) -> list:
    """What tells a file from its next version without reading it: path, size, time."""
    found = path.stat()
    return [str(path.resolve()), found.st_size, found.st_mtime_ns]


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object in a file, None where there is no such file or it holds none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """`prepared.json` of a data set's folder; None where there is none.

    Raises:
        UserError: another schema or version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest = read_json(path)
    if not isinstance(manifest, dict) or (manifest.get("schema"), manifest.get("version")) != (SCHEMA, VERSION):
        raise UserError(f"{path} is no {SCHEMA} of version {VERSION}: {AGAIN}")
    return read_object(path, AGAIN, listing=str, settings=dict, checksums=dict, summary=str)
