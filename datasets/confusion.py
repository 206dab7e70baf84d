"""mmseg's IoU with what stands behind its mean: the IoU of each class, and which classes are taken for which."""

from typing import Any

import torch
from mmengine.registry import METRICS
from mmseg.evaluation import IoUMetric
from torch import Tensor

SINGLY = 15  # confusions of a class that are kept one by one, so that records of many classes stay small


@METRICS.register_module()
class ClasswiseIoU(IoUMetric):
    """mmseg's IoUMetric, whose counts of an image are its cells of the confusion matrix.

    `details` holds, after the test, the classes, the IoU of each in %, None for a class that occurs neither in truth
    nor in prediction, and the confusions (`rows_of`).
    """

    @staticmethod
    def intersect_and_union(prediction: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> tuple:
        """Maps of class ids [H, W] -> the cells true * classes + predicted that occur, and the pixels of each."""
        known = label != ignore_index
        pairs = label[known].long() * num_classes + prediction[known].long()
        counts = torch.bincount(pairs, minlength=num_classes**2)
        cells = counts.nonzero().squeeze(1)
        return cells.cpu(), counts[cells].cpu()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The cells of all images -> mmseg's metrics, by its own arithmetic in float32."""
        classes = list(self.dataset_meta["classes"])
        matrix = sum(matrix_of(*image, len(classes)) for image in results)
        right, union, predicted, true = areas(matrix)
        iou = [round(100 * a / b, 2) if b else None for a, b in zip(right.tolist(), union.tolist(), strict=True)]
        self.details = {"classes": classes, "per_class": {"IoU": iou}, "confusion": rows_of(matrix.tolist())}
        return super().compute_metrics([tuple(total.float() for total in (right, union, predicted, true))])


def matrix_of(cells: Tensor, counts: Tensor, classes: int) -> Tensor:
    """The cells of an image -> pixels [classes, classes], true by predicted."""
    matrix = torch.zeros(classes**2, dtype=torch.long)
    matrix[cells] = counts
    return matrix.view(classes, classes)


def areas(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """[true, predicted] -> pixels by class [K]: of the intersection, the union, the prediction and the label."""
    right, predicted, true = matrix.diagonal(), matrix.sum(dim=0), matrix.sum(dim=1)
    return right, predicted + true - right, predicted, true


def rows_of(matrix: list[list[int]]) -> list[dict[str, Any]]:
    """Of each true class its right pixels, its largest confusions as [predicted class, pixels], the others summed."""
    rows = []
    for true, row in enumerate(matrix):
        wrong = [[k, pixels] for k, pixels in enumerate(row) if pixels and k != true]
        wrong.sort(key=lambda pair: (-pair[1], pair[0]))
        rows.append({"right": row[true], "wrong": wrong[:SINGLY], "others": sum(n for _, n in wrong[SINGLY:])})
    return rows
