"""COCO files for mmdet: one checked content for the trainer and for the evaluator, or an error that names the fault."""

import copy
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from faster_coco_eval import COCOeval_faster
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.datasets.transforms import PackDetInputs
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS
from mmengine.dataset import force_full_init
from mmengine.registry import METRICS, TRANSFORMS

from datasets.checked_annotations import usable_annotations
from datasets.fast_transforms import ChannelsFirst
from engine.errors import UserError

AP_NAMES = {"bbox": "box_AP", "segm": "mask_AP"}


@DATASETS.register_module()
class CocoFolder(CocoDataset):
    """mmdet's CocoDataset for any COCO JSON with instance masks and its image folder.

    Every sample is mmdet's, but read from the packed file that `usable_annotations` leaves: a process holds the numbers
    of its images and nothing else. `metainfo["ann_file"]` is the file that was read: the user's, or its mended copy.

    Raises:
        UserError: the JSON is missing or damaged, an image is missing, the classes asked for are not the file's or
            stand in another order, no object is of these classes, or what `check_annotations` calls a fault.
    """

    def full_init(self) -> None:
        """Check and pack the annotation file, or find that done, and choose the images as mmdet does."""
        if self._fully_initialized:
            return
        if self.proposal_file is not None or not self.serialize_data:
            raise UserError("CocoFolder packs what it reads, without proposals: leave proposal_file and serialize_data "
                            "out")  # fmt: skip
        found = usable_annotations(Path(self.ann_file), Path(self.data_prefix["img"]), self.metainfo["classes"])
        self.ann_file = self._metainfo["ann_file"] = str(found.file)
        self.images = found.images
        self.cat_ids = found.images.categories.tolist()
        self.cat2label = {number: label for label, number in enumerate(self.cat_ids)}
        self.rows = np.flatnonzero(self.wanted())
        self._fully_initialized = True
        if self._indices is not None:
            self.get_subset_(self._indices)

    def wanted(self) -> np.ndarray:
        """Which of the file's images `filter_cfg` leaves, bool [images of the file]; in tests all."""
        rules = {} if self.test_mode else self.filter_cfg or {}
        described = self.images.described | (not rules.get("filter_empty_gt", False))
        return described & (self.images.shapes.min(axis=1) >= rules.get("min_size", 0))

    @property
    def shapes(self) -> np.ndarray:
        """Heights and widths of the images, [N, 2]."""
        return self.images.shapes[self.rows]

    @force_full_init
    def __len__(self) -> int:
        return len(self.rows)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """What mmdet's data set says of an image: its paths and its `instances`."""
        image = self.images[self.rows[idx]]
        instances = image.pop("instances")
        found = self.parse_data_info({"raw_img_info": image, "raw_ann_info": ()})
        return {**found, "instances": instances, "sample_idx": idx if idx >= 0 else len(self) + idx}

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep the first images, the last (of a negative number), or those of a list of numbers."""
        if isinstance(indices, int):
            self.rows = self.rows[:indices] if indices >= 0 else self.rows[indices:]
        else:
            self.rows = self.rows[np.asarray(indices, np.int64)]

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> "CocoFolder":
        """A data set of some of the images, see `get_subset_`."""
        part = copy.copy(self)
        part.get_subset_(indices)
        return part


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


@TRANSFORMS.register_module()
class PackDet(ChannelsFirst, PackDetInputs):
    """mmdet's packing, faster."""
