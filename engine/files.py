"""Atomic writes, checksums and locks: a reader sees the whole old file or the whole new one, never a part."""

import contextlib
import fcntl
import hashlib
import io
import itertools
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it over `path`.

    If the body raises, `path` is left as it was and the temporary file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; on success flush it to disk and rename it to `path`.

    If the body raises or the process dies, `path` is what it was: not there, or the old folder. A folder that a killed
    writer left beside is emptied by the next.

    Args:
        path: of the folder to make.
        replace: whether one that stands there gives way to the new one.

    Raises:
        FileExistsError: something stands there and is not to be replaced.
    """
    path = Path(path)
    _restore(path)
    if os.path.lexists(path) and not replace:
        raise FileExistsError(f"{path} is already there")
    new = _beside(path, "new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        move_folder(new, path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def move_folder(new: str | Path, path: str | Path) -> None:
    """Flush a finished folder to disk and rename it to `path` on the same disk; what stands there gives way."""
    new, path = Path(new), Path(path)
    for name in [*new.rglob("*"), new]:
        if name.is_dir() or (name.lstat().st_nlink == 1 and not name.is_symlink()):  # a link's bytes are another file's
            _flush(name)
    old = _beside(path, "old")
    if os.path.lexists(path):
        shutil.rmtree(old, ignore_errors=True)
        os.replace(path, old)
    os.replace(new, path)
    _flush(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _restore(path: Path) -> None:
    """Put a replaced folder back whose writer died between the two renames."""
    old = _beside(path, "old")
    if old.is_dir() and not os.path.lexists(path):
        os.replace(old, path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` atomically as indented JSON; NaN and infinity are refused with ValueError."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_tars(
    folder: str | Path, name: str, samples: Iterable[tuple[str, Mapping[str, bytes]]], per_shard: int
) -> list[Path]:
    """Write image-text samples to folder/NAME-00000.tar, ...; the same samples give the same bytes.

    Args:
        samples: (key, {extension: bytes}) of each; its members are KEY.EXTENSION, in this order, of no date or owner.
        per_shard: samples in one tar.

    Returns:
        The tars.
    """
    written, rest = [], iter(samples)
    while shard := list(itertools.islice(rest, 1)):
        path = Path(folder, f"{name}-{len(written):05d}.tar")
        with atomic_path(path) as temporary, tarfile.open(temporary, "w") as archive:
            for key, members in itertools.chain(shard, itertools.islice(rest, per_shard - 1)):
                for extension, data in members.items():
                    member = tarfile.TarInfo(f"{key}.{extension}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        written.append(path)
    return written


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold the lock file `path`; who comes second waits. Forked processes hold it too, until the last of them ends."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
