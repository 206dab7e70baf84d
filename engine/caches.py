"""Files that are computed once and read ever after: made by one process, checked by everybody who reads them.

Beside each lies `<name>.sha256`, a line as `sha256sum -c` reads it. A file that does not fit it, or has none, is made
again, with a word. Runs that start at the same time make it once: a lock, which dies with its holder, lets the others
wait.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

from engine.files import atomic_path, locked, sha256, write_text


def ensure_cached(path: str | Path, make: Callable[[Path], None]) -> Path:
    """Return `path` with its checksum verified, made first where it is missing or damaged.

    Args:
        path: of the file; its name says all that decides its content.
        make: writes the file to the path that it is given.

    Raises:
        UserError: the folder cannot be written, and what `make` raises.
    """
    path = Path(path)
    if is_intact(path):
        return path
    with locked(path.with_name(f".{path.name}.lock"), f"waiting for another process, which makes {path}"):
        if is_intact(path):
            return path
        if path.exists():
            print(f"warning: {path} does not fit its checksum; it is made again", flush=True)
        with atomic_path(path) as temporary:
            make(temporary)
            line = f"{sha256(temporary)}  {path.name}\n"
            seal_of(path).unlink(missing_ok=True)
        write_text(seal_of(path), line)
    return path


def is_intact(path: Path) -> bool:
    """Whether a file is there with the checksum that stands beside it."""
    with contextlib.suppress(OSError, ValueError):
        return seal_of(path).read_text().split() == [sha256(path), path.name]
    return False


def seal_of(path: Path) -> Path:
    """Where the checksum of a cached file lies."""
    return path.with_name(f"{path.name}.sha256")
