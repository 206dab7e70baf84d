"""manifest.json of an export: whether it is whole, of the scenes that are asked for, and still as it was written."""

import os
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.files import has_sha256, read_object, sha256

SCHEMA, VERSION = "densebench/scenes", 1


def load(path: Path) -> dict[str, Any]:
    """A JSON file of an export. UserError where it is none."""
    value = read_object(path, "delete its folder or choose another root")
    if value.get("schema") != SCHEMA:
        raise UserError(f"{path}: is not a {SCHEMA} file; choose another root")
    return value


def refuse_other(root: Path, found: dict[str, Any], request: dict[str, Any]) -> None:
    """Refuse an export under `root` whose request differs, naming what differs."""
    plain = {k: v for k, v in request.items() if k != "counts"}
    differs = [f"{k} is {found.get(k)}, asked for {v}" for k, v in plain.items() if found.get(k) != v]
    have = found["counts"] if isinstance(found.get("counts"), dict) else {}
    differs += [f"{k} count is {have.get(k)}, asked for {v}" for k, v in request["counts"].items() if have.get(k) != v]
    if differs:
        raise UserError(f"{root}: holds other scenes: {'; '.join(differs)}; delete the folder or choose another root")


def finished(root: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a finished export, None where there is none or a file of it is not as it was written."""
    path = root / "manifest.json"
    if not path.exists():
        return None
    manifest = load(path)
    refuse_other(root, manifest, request)
    sums = manifest.get("sha256", {})  # absent in older exports
    if not isinstance(sums, dict):
        raise UserError(f"{path}: its sha256 is no object; delete its folder or choose another root")
    files = {name: os.path.isfile(root / name) for name in sums}
    damaged = [name for name, there in files.items() if not there or not has_sha256(root / name, sums[name])]
    if damaged:
        print(f"warning: {root / damaged[0]} does not fit its checksum; the scenes are made again", flush=True)
        return None
    return manifest


def checksums(root: Path) -> dict[str, str]:
    """Path -> SHA-256 of the files that span chunks: damage in them need not show when they are read, as an image's
    does."""
    files = sorted([*root.glob("coco/*.json"), *root.glob("shards/*.tar")])
    return {path.relative_to(root).as_posix(): sha256(path) for path in files}
