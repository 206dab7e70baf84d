"""COCO files checked, mended and packed once; whoever comes after, in this process or another, finds it in the cache.

In the cache beside the file's folder lie, by names that say what each depends on:

* the outline: categories and image names, by the file's size and time, so that no later run parses the file;
* what the check found, with the mended copy where one is needed, by the outline and the images' sizes and times;
* the images as mmdet reads them (`datasets/packed_annotations.py`), by all of that and the classes.
"""

import contextlib
import gc
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from datasets.annotations import by_kind, check_annotations, check_categories, read_annotations
from datasets.headers import Header
from datasets.images import header_of
from datasets.packed_annotations import PackedImages, pack_images
from datasets.parallel import each
from datasets.shards import cache_folder
from engine.caches import ensure_cached, is_intact
from engine.errors import UserError
from engine.files import locked, sha256, write_json, write_text

VERSION = 6  # of the rules by which files are mended and packed


class Usable(NamedTuple):
    """A checked COCO file: the one to read, the user's or its mended copy, and its images as mmdet reads them."""

    file: Path
    images: PackedImages


class Stored(NamedTuple):
    """Where in the cache lie what the check found, the mended copy, if one is needed, and the packed images."""

    known: Path
    copy: Path
    packed: Path


def usable_annotations(path: Path, folder: Path, classes: Sequence[str]) -> Usable:
    """Check a COCO file, mend it by rule and pack it, or find that done before.

    It holds for as long as the file's and its images' sizes and times stay. Processes that start at the same time do
    it once.

    Args:
        path: of the file. folder: of its images.
        classes: the classes asked for.

    Raises:
        UserError: the first of the faults.
    """
    if not path.is_file():
        read_annotations(path)  # refuses
    found = stored(path, folder, classes)
    if found is None or not is_whole(found):
        lock = cache_folder(path.parent) / "annotations.lock"
        with locked(lock, f"waiting for another process, which reads {path}"), uncollected():
            found = stored(path, folder, classes)
            if found is None or not is_whole(found):
                found = make(path, folder, classes)
    record = json.loads(found.known.read_text())
    for kind, sentences in record["notes"].items():
        print_log(f"{len(sentences):,} x {kind}, first: {sentences[0]}", "current", logging.WARNING)
    return Usable(path if record["copy"] is None else found.copy, PackedImages(found.packed))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Millions of objects without a cycle are made here, which the collector would walk again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def stored(path: Path, folder: Path, classes: Sequence[str]) -> Stored | None:
    """Where a file's check and its packed images lie, or will lie; None where not even its outline is known.

    Raises:
        UserError: the classes asked for are not the file's or stand in another order, or an image is missing.
    """
    outline = outline_of(path)
    if not is_intact(outline):
        return None
    categories, names = json.loads(outline.read_text()).values()
    check_categories(path, [{"name": name} for name in categories], classes)
    stats = {name: stat for name in names if (stat := _stat(os.path.join(folder, name))) is not None}
    if absent := [name for name in names if name not in stats]:
        raise UserError(
            f"{len(absent)} of {len(names)} images of {path} are not in {folder}, first {absent[0]}: check root and "
            "images of the data section"
        )
    mark = _mark(str(folder), _stat(path), stats)
    chosen = _mark(mark, list(classes))
    ends = f"{mark}.checked.json", f"{mark}.json", f"{chosen}.npy"
    return Stored(*(outline.with_name(f"{path.stem}-{end}") for end in ends))


def outline_of(path: Path) -> Path:
    """Where the names of a file's categories and images lie."""
    return cache_folder(path.parent) / f"{path.stem}-{_mark(_stat(path))}.outline.json"


def is_whole(found: Stored) -> bool:
    """Is everything there and undamaged?"""
    return _stands(found) and is_intact(found.packed)


def make(path: Path, folder: Path, classes: Sequence[str]) -> Stored:
    """Check and pack, as far as it is not done yet."""
    content = read_annotations(path)
    outline = {key: [entry[name] for entry in content[key]]
               for key, name in (("categories", "name"), ("images", "file_name"))}  # fmt: skip
    ensure_cached(outline_of(path), lambda temporary: temporary.write_text(json.dumps(outline)))
    found = stored(path, folder, classes)
    if not _stands(found):
        checked = check_annotations(path, content, read_headers(folder, list(dict.fromkeys(outline["images"]))))
        if checked.faults:
            raise UserError(checked.faults[0][1])
        if checked.mended:
            write_text(found.copy, json.dumps(content))
        digest = sha256(found.copy) if checked.mended else None
        write_json(found.known, {"copy": digest, "notes": by_kind(checked.notes)})
    elif found.copy.exists():
        content = read_annotations(found.copy)
    ensure_cached(found.packed, lambda temporary: pack_images(temporary, content, classes, path))
    return found


def read_headers(folder: Path, names: list[str]) -> dict[str, Header | str]:
    """File name -> header of the image, or the sentence that says why it cannot be read."""
    return dict(zip(names, each(lambda name: _header(folder / name), names, "read image headers"), strict=True))


def _header(path: Path) -> Header | str:
    try:
        return header_of(path)
    except UserError as error:
        return str(error)


def _mark(*about: Any) -> str:
    """Sixteen digits that stand for what something depends on."""
    return hashlib.sha256(json.dumps([VERSION, *about]).encode()).hexdigest()[:16]


def _stat(path: str | Path) -> tuple[int, int] | None:
    """Size and time of a file; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return None
    return found.st_size, found.st_mtime_ns


def _stands(found: Stored) -> bool:
    """Was the file checked before, and is its mended copy, if it needs one, whole?"""
    try:
        digest = json.loads(found.known.read_text())["copy"]
        return digest is None or sha256(found.copy) == digest
    except (OSError, ValueError, KeyError, TypeError):
        return False
