"""The score of perfect predictions on a COCO file: 100 on every file that is accepted, or the evaluation is broken."""

import contextlib
import io

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.registry import DefaultScope
from pycocotools.coco import COCO

from datasets.detection import CocoFolder


def perfect_score(dataset: CocoFolder) -> tuple[float, float]:
    """(box AP, mask AP) of what pycocotools itself decodes from the file that the evaluator reads; 1.0 is perfect."""
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        metric = METRICS.build(dict(type="CocoFolderMetric", metric=["bbox", "segm"]))
        metric.dataset_meta = dataset.metainfo
        truth = COCO(dataset.metainfo["ann_file"])
        labels = {i: k for k, name in enumerate(dataset.metainfo["classes"]) for i in truth.getCatIds(catNms=[name])}
        for image in truth.imgs.values():
            found = [truth.anns[i] for i in truth.getAnnIds(imgIds=[image["id"]])]
            boxes = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in found)]
            masks = [truth.annToMask(a) for a in found]
            size = (image["height"], image["width"])
            prediction = dict(
                bboxes=torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
                labels=torch.tensor([labels[a["category_id"]] for a in found], dtype=torch.long),
                scores=torch.ones(len(found)),
                masks=torch.from_numpy(np.array(masks, bool).reshape(-1, *size)),
            )
            metric.process({}, [dict(img_id=image["id"], ori_shape=size, pred_instances=prediction)])
        found = metric.evaluate(size=len(truth.imgs))
    return found["coco/bbox_mAP"], found["coco/segm_mAP"]
