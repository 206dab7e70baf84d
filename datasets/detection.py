"""COCO files for mmdet: one checked content for the trainer and for the evaluator, or an error that names the fault."""

import hashlib
import json
import logging
import tempfile
from pathlib import Path

import numpy as np
from faster_coco_eval import COCOeval_faster
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.datasets.transforms import PackDetInputs
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS
from mmengine.logging import print_log
from mmengine.registry import METRICS, TRANSFORMS

from datasets.annotations import by_kind, check_annotations, check_categories, read_annotations
from datasets.fast_transforms import ChannelsFirst
from datasets.headers import Header
from datasets.images import header_of
from datasets.parallel import each
from datasets.shards import cache_folder
from engine.errors import UserError
from engine.files import locked, sha256, write_json, write_text

AP_NAMES = {"bbox": "box_AP", "segm": "mask_AP"}
VERSION = 3  # of the rules by which files are mended


@DATASETS.register_module()
class CocoFolder(CocoDataset):
    """mmdet's CocoDataset for any COCO JSON with instance masks and its image folder.

    `metainfo["ann_file"]` is the file that was read: the user's, or its mended copy; see `usable_annotations`. `shapes`
    are the heights and widths of the images, [N, 2].

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

    def filter_data(self) -> list[dict]:
        """The images to train on, as mmdet chooses them; their shapes are kept beside, where they take little room."""
        images = super().filter_data()
        self.shapes = np.array([(image["height"], image["width"]) for image in images])
        return images


@METRICS.register_module()
class CocoFolderMetric(CocoMetric):
    """mmdet's CocoMetric on the content that `CocoFolder` read, with every detection that the model kept.

    mmdet's own counts the first 100 of an image, whatever the model keeps. `details` holds the classes and the average
    precision of each, in %, None for a class without objects.

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

    def compute_metrics(self, results: list) -> dict[str, float]:
        """(image, predictions) of all images -> COCO's average precisions in 0..1, -1 where there is no such object."""
        classes = self.dataset_meta["classes"]
        self.cat_ids = self._coco_api.get_cat_ids(cat_names=classes)
        self.details = {"classes": list(classes), "per_class": {}}
        predictions = [prediction for _, prediction in results]
        most = max(1, *(len(prediction["scores"]) for prediction in predictions))
        measured = {}
        with tempfile.TemporaryDirectory() as folder:
            files = self.results2json(predictions, f"{folder}/results")
            for kind in self.metrics:
                found = json.loads(Path(files[kind]).read_text())
                precision = average_precision(self._coco_api, found, kind, self.cat_ids, most)
                parts = {"": precision, "_50": precision[0], "_75": precision[5]}
                areas = {"": 0, "_50": 0, "_75": 0, "_s": 1, "_m": 2, "_l": 3}
                for name, area in areas.items():
                    measured[f"{kind}_mAP{name}"] = mean_known(parts.get(name, precision)[..., area])
                known = [mean_known(precision[:, :, k, 0]) for k in range(len(classes))]
                self.details["per_class"][AP_NAMES[kind]] = [None if ap < 0 else round(100 * ap, 1) for ap in known]
        return measured


def average_precision(truth: COCO, found: list[dict], kind: str, categories: list[int], most: int) -> np.ndarray:
    """COCO's precisions [overlaps 0.5 to 0.95, recalls, classes, areas: all, small, medium, large], -1 without objects.

    By faster-coco-eval, on one thread; pycocotools' evaluation gives the same numbers and takes longer.

    Args:
        truth: the annotations. found: predictions in COCO's format. kind: "bbox" or "segm". categories: ids of the
            classes. most: detections of one image that count.
    """
    for one in found if kind == "segm" else ():
        one.pop("bbox")  # else pycocotools takes the box's area for the object's
    predictions = COCO()
    if found:
        predictions = truth.loadRes(found)
    else:  # which loadRes cannot read
        predictions.dataset = {**{key: truth.dataset[key] for key in ("images", "categories")}, "annotations": []}
        predictions.createIndex()
    evaluation = COCOeval_faster(truth, predictions, kind, rle_iou_max_workers=1)
    evaluation.params.catIds, evaluation.params.imgIds = categories, truth.get_img_ids()
    evaluation.params.maxDets = [most]
    evaluation.evaluate()
    evaluation.accumulate()
    place = np.searchsorted(evaluation.params.catIds, categories)  # its classes stand in the order of their ids
    return evaluation.eval["precision"][..., 0][:, :, place]


def mean_known(precision: np.ndarray) -> float:
    """The mean of the precisions that are not -1, to three decimals as mmdet gives it; -1 where there is none."""
    known = precision[precision > -1]
    return float(round(known.mean(), 3)) if known.size else -1.0


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


@TRANSFORMS.register_module()
class PackDet(ChannelsFirst, PackDetInputs):
    """mmdet's packing, faster."""
