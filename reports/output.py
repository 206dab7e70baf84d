"""The folder of a report: it holds exactly the files of the last one, and whatever else its owner put there.

`.densebench-report.json` lists the files of the last report with their checksums. What it lists and the next report
does not write is removed, if it still is what the report wrote.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from engine.errors import UserError
from engine.files import sha256, write_json, write_text
from reports.strict_json import one_line

MANIFEST = ".densebench-report.json"
SCHEMA, VERSION = "densebench/report", 1


def write_report(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Write `files`, {path below the folder: text}, and remove what an earlier report left; return what was removed.

    Raises:
        UserError: a manifest that is damaged or of another version, or a folder that cannot be written to.
    """
    before = _read(folder / MANIFEST)
    digests = {name: hashlib.sha256(files[name].encode()).hexdigest() for name in sorted(files)}
    manifest = {"schema": SCHEMA, "version": VERSION, "files": digests}
    stale = [name for name in sorted(before) if name not in files]
    try:
        write_json(folder / MANIFEST, manifest | {"files": before | digests})  # complete even if interrupted below
        for name, text in files.items():
            write_text(folder / name, text)
        removed = [name for name in stale if _remove(folder, name, before[name])]
        write_json(folder / MANIFEST, manifest)
    except OSError as error:
        place = error.filename or folder
        raise UserError(f"{place}: cannot be written ({error.strerror}); name another --out.") from None
    return removed


def _read(path: Path) -> dict[str, str]:
    """{file: checksum} of the last report; empty where there was none."""
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text())
        if (document["schema"], document["version"]) != (SCHEMA, VERSION):
            raise ValueError(f"schema {document['schema']!r}, version {document['version']!r}")
        files = {str(name): str(digest) for name, digest in document["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the list of a report's files ({type(error).__name__}: {one_line(error)}); delete "
                        "it, or name another --out.") from None  # fmt: skip
    return {name: digest for name, digest in files.items()
            if not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts}  # fmt: skip


def _remove(folder: Path, name: str, digest: str) -> bool:
    path = folder / name
    if path.is_symlink() or not path.is_file() or sha256(path) != digest:  # changed since: not ours to remove
        return False
    path.unlink()
    if path.parent != folder and not any(path.parent.iterdir()):
        path.parent.rmdir()
    return True
