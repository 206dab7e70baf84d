"""Atomic writes, checksums and locks: a reader sees the whole old file or the whole new one, never a part."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import UserError

SEAL = "content_sha256"  # of a JSON document: the checksum of its other fields
# What a person can do where the system refuses to write.
MENDS = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space of your quota there",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "choose a folder that is not mounted read-only",
    errno.EACCES: "give yourself the right to write there",
    errno.EPERM: "give yourself the right to write there",
    errno.ENOENT: "its folder is gone: put it back",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EIO: "check that disk",
    errno.ESTALE: "mount that file system again",
}
FOREIGN_CODE = re.compile(r"while serializing.*os error (\d+)")  # safetensors' words, the system's number
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy's words


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what the system refuses while `path` is written into a sentence; other errors pass as they are.

    Raises:
        UserError: a full disk or quota, a limit on file sizes, a read-only or vanished folder, no permission.
    """
    path = Path(path)
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        code = _refusal(error, path.absolute())
        if code not in MENDS:
            raise
        raise UserError(
            f"{path} cannot be written ({os.strerror(code)}): {MENDS[code]}; what stood there before is as it was"
        ) from error


def _refusal(error: Exception, path: Path) -> int | None:
    """The system's number for why `path` cannot be written; None where an error is about something else."""
    if found := FOREIGN_CODE.search(str(error)):
        return int(found[1])
    cause = error if isinstance(error, OSError) else error.__context__  # torch.save hides the reason in the context
    if not isinstance(cause, OSError):
        return None
    if cause.errno is None and SHORT_WRITE.search(str(cause)):
        return errno.ENOSPC
    name = path if cause.filename is None else Path(os.fsdecode(cause.filename)).absolute()
    near = name.parent == path.parent or name.is_relative_to(path.parent / f".{path.name}.new")  # of `whole_folder`
    return cause.errno if near or path.is_relative_to(name) else None


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it over `path`.

    If the body raises, `path` is left as it was and the temporary file is removed. Those of killed writers go when
    their folder is next written.

    Raises:
        UserError: as `writing`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with open(temporary, "wb") as mine:
            fcntl.flock(mine, fcntl.LOCK_EX)  # says that its writer lives
            try:
                yield temporary
                with open(temporary, "rb") as handle:
                    os.fsync(handle.fileno())
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)


@functools.cache
def sweep(folder: Path) -> None:
    """Remove the temporary files of killed writers from `folder`, once in the life of a process."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError), open(path, "rb") as left:  # locked: its writer lives, here or elsewhere
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextlib.contextmanager
def whole_folder(path: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; on success flush it to disk and rename it to `path`.

    If the body raises or the process dies, `path` is what it was: not there, or the old folder (after a death between
    two renames, once `restore_folder` has looked). A folder that a killed writer left beside is emptied by the next.

    Args:
        path: of the folder to make.
        replace: whether one that stands there gives way to the new one.

    Raises:
        FileExistsError: something stands there and is not to be replaced.
        UserError: as `writing`.
    """
    path = Path(path)
    restore_folder(path)
    if os.path.lexists(path) and not replace:
        raise FileExistsError(f"{path} is already there")
    new = _beside(path, "new")
    shutil.rmtree(new, ignore_errors=True)
    with writing(path):
        try:
            new.mkdir(parents=True)
            yield new
            move_folder(new, path)
        finally:
            restore_folder(path)
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


def restore_folder(path: Path) -> None:
    """Put a replaced folder back whose writer died between the two renames."""
    old = _beside(path, "old") if path.name else path  # "/" has none, and is never replaced
    if os.path.lexists(old) and not os.path.lexists(path):  # neither, of a name that no file can have
        with contextlib.suppress(FileNotFoundError):  # another process just put it back
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
    """Write `text` to `path` atomically as UTF-8; bytes of files' names that are no text become escapes."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` atomically as indented JSON; NaN and infinity are refused with ValueError."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_object(path: str | Path, mend: str, **fields: type) -> dict[str, Any]:
    """A JSON object that the suite wrote.

    Args:
        path: of its file. mend: what to do where it is damaged. fields: that the caller reads, each with its type.

    Raises:
        UserError: a file that is missing, cut short, no UTF-8, no JSON or no object, or a field of another type.
    """
    try:
        found = json.loads(Path(path).read_text())
        kinds = {name: int | float if kind is float else kind for name, kind in fields.items()}
        if not isinstance(found, dict) or any(not isinstance(found[name], kind) for name, kind in kinds.items()):
            raise TypeError(f"no object with {', '.join(fields) or 'fields'} of the right types")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {mend}") from None
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}): {mend}") from None
    return found


def append_text(path: str | Path, text: str) -> None:
    """Append `text` to `path` as UTF-8; what a killed writer leaves may be cut anywhere."""
    with writing(path), open(path, "a", encoding="utf-8") as handle:
        handle.write(text)


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with the checksum of its content added as "content_sha256"."""
    return {**document, SEAL: _checksum(document)}


def seal_holds(document: dict[str, Any]) -> bool:
    """Whether a JSON object is as it was sealed; one without a seal, of an older version, is taken as it is."""
    return SEAL not in document or document[SEAL] == _checksum(document)


def _checksum(document: dict[str, Any]) -> str:
    content = {key: value for key, value in document.items() if key != SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_tars(
    folder: str | Path, name: str, samples: Iterable[tuple[str, Mapping[str, bytes]]], per_shard: int
) -> list[Path]:
    """Write image-text samples to folder/NAME-00000.tar, ..., which are returned; equal samples give equal bytes.

    Args:
        samples: (key, {extension: bytes}) of each; its members are KEY.EXTENSION, in this order, of no date or owner.
        per_shard: samples in one tar.
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
def locked(path: str | Path, waiting: str | None = None) -> Iterator[None]:
    """Hold the lock file `path`; who comes second waits. Forked processes hold it too, until the last of them ends.

    Args:
        path: of the lock file, which is made.
        waiting: the line that is printed by whoever has to wait.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "w")  # noqa: SIM115  the next line closes it; errors of the body are not this file's
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                print(waiting, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


_read: dict[tuple[str, int, int, int, int, int], str] = {}  # path and what stat says of it -> its SHA-256


def has_sha256(path: str | Path, digest: str) -> bool:
    """Whether a file's SHA-256 is `digest`; a file that has not changed since is read once in a process.

    A file changed less than two seconds ago is read each time: a further change could leave its times as they are.
    """
    about = os.stat(path)
    changed = max(about.st_mtime_ns, about.st_ctime_ns)
    key = (os.path.abspath(path), about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if key in _read:
        return _read[key] == digest
    found = sha256(path)
    if time.time_ns() - changed > 2_000_000_000:
        _read[key] = found
    return found == digest
