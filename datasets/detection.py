"""COCO files for mmdet: one checked content for the trainer and for the evaluator, or an error that names the fault."""

import hashlib
import json
import logging
from pathlib import Path

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS
from mmengine.logging import print_log
from mmengine.registry import METRICS

from datasets.annotations import by_kind, check_annotations, check_categories, read_annotations
from datasets.headers import Header
from datasets.images import header_of
from datasets.parallel import each
from datasets.shards import cache_folder
from engine.errors import UserError
from engine.files import locked, sha256, write_json, write_text

VERSION = 1  # of the rules by which files are mended


@DATASETS.register_module()
class CocoFolder(CocoDataset):
    """mmdet's CocoDataset for any COCO JSON with instance masks and its image folder.

    `metainfo["ann_file"]` is the file that was read: the user's, or its mended copy; see `usable_annotations`.

    Raises:
        UserError: the JSON is missing or damaged, an image is missing, the classes asked for are not the file's or
            stand in another order, no object is of these classes, or what `check_annotations` calls a fault.
    """

    def load_data_list(self) -> list[dict]:
        """Check the annotation file, then let mmdet read it or its mended copy."""
        given = Path(self.ann_file)
        self.ann_file = str(usable_annotations(given, Path(self.data_prefix["img"]), self.metainfo["classes"]))
        self._metainfo["ann_file"] = self.ann_file
        images = super().load_data_list()
        if not any(not thing["ignore_flag"] for image in images for thing in image["instances"]):
            raise UserError(
                f"{given} has no object of the classes {list(self.metainfo['classes'])}, so nothing can be learnt or "
                "scored: annotate its images, or choose another split or other classes"
            )
        return images


@METRICS.register_module()
class CocoFolderMetric(CocoMetric):
    """mmdet's CocoMetric on the content that `CocoFolder` read.

    Args:
        ann_file: the data section's file; the `ann_file` of the data set's metainfo is read, where it has one.
        others: as in mmdet.
    """

    def __init__(self, ann_file: str | None = None, **others: object) -> None:
        super().__init__(**others)
        self.ann_file = ann_file

    @CocoMetric.dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        """Take the meta information and read the annotation file that it names."""
        CocoMetric.dataset_meta.fset(self, meta)
        self._coco_api = COCO(meta.get("ann_file", self.ann_file))


def usable_annotations(path: Path, folder: Path, classes: list[str]) -> Path:
    """Check a COCO file and return the one to read: itself, or a mended copy in the cache beside its folder.

    The check is kept for as long as the file's and its images' sizes and times stay.

    Args:
        path: of the file. folder: of its images.
        classes: the classes asked for.

    Raises:
        UserError: the first of the faults.
    """
    content = read_annotations(path)
    check_categories(path, content["categories"], classes)
    names = [image["file_name"] for image in content["images"]]
    stats = {name: stat for name in names if (stat := _stat(folder / name)) is not None}
    if absent := [name for name in names if name not in stats]:
        raise UserError(
            f"{len(absent)} of {len(names)} images of {path} are not in {folder}, first {absent[0]}: check root and "
            "images of the data section"
        )
    mark = hashlib.sha256(json.dumps([VERSION, str(folder), _stat(path), stats]).encode()).hexdigest()[:16]
    cache = cache_folder(path.parent)
    copy, known = (cache / f"{path.stem}-{mark}.{suffix}" for suffix in ("json", "checked.json"))
    with locked(cache / "annotations.lock"):
        if not _stands(known, copy):
            found = check_annotations(path, content, read_headers(folder, list(stats)))
            if found.faults:
                raise UserError(found.faults[0][1])
            if found.mended:
                write_text(copy, json.dumps(content))
            write_json(known, {"copy": sha256(copy) if found.mended else None, "notes": by_kind(found.notes)})
    record = json.loads(known.read_text())
    for kind, sentences in record["notes"].items():
        print_log(f"{len(sentences):,} x {kind}, first: {sentences[0]}", "current", logging.WARNING)
    return path if record["copy"] is None else copy


def read_headers(folder: Path, names: list[str]) -> dict[str, Header | str]:
    """File name -> header of the image, or the sentence that says why it cannot be read."""
    return dict(zip(names, each(lambda name: _header(folder / name), names, "read image headers"), strict=True))


def _header(path: Path) -> Header | str:
    try:
        return header_of(path)
    except UserError as error:
        return str(error)


def _stat(path: Path) -> tuple[int, int] | None:
    """Size and time of a file; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return None
    return found.st_size, found.st_mtime_ns


def _stands(known: Path, copy: Path) -> bool:
    """Was the file checked before, and is its mended copy, if it needs one, whole?"""
    try:
        digest = json.loads(known.read_text())["copy"]
        return digest is None or sha256(copy) == digest
    except (OSError, ValueError, KeyError, TypeError):
        return False
