"""What probes of classes share: upsampling, the prediction of every pixel at a label's own size, mIoU."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor
from torch.nn import functional as F

from datasets.confusion import areas, matrix_of
from engine.outcome import Measure, interval, resamples
from probes.data import LabelledImages
from probes.measures import evaluator, measures


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, K, h, w] -> [B, K, height, width], bilinear, corners not aligned, as mmseg's heads do."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def predictions(scores: Iterable[Tensor], truth: Iterable[Tensor]) -> Iterator[Tensor]:
    """The class of every pixel of each image, int64 [H, W].

    Args:
        scores: of each image [K, h, w], on any device. truth: its class map [H, W], whose size counts.
    """
    for found, wanted in zip(scores, truth, strict=True):
        yield upsampled(found[None], tuple(wanted.shape))[0].argmax(dim=0).cpu()


def measure(
    cfg: Config, scores: Iterable[Tensor], asked: LabelledImages, classes: list[str]
) -> tuple[list[Measure], dict[str, Any]]:
    """The metrics of `cfg.metrics` by the evaluator of the segmentation heads, with intervals over images; and what it
    knows class by class.

    Args:
        scores: of each image of `asked`, in order, [K, h, w].
    """
    metric = evaluator(cfg)
    metric.dataset_meta = {"classes": classes}
    for number, found in enumerate(scores):
        wanted = torch.from_numpy(asked.label(number)).long()
        (predicted,) = predictions([found], [wanted])
        metric.process({}, [{"pred_sem_seg": {"data": predicted}, "gt_sem_seg": {"data": wanted}}])
    bounds = intervals([areas(matrix_of(*cells, len(classes))) for cells in metric.results])
    return measures(cfg, metric, bounds), metric.details


def intervals(areas: list[tuple[Tensor, ...]]) -> dict[str, tuple[float, float]]:
    """95 % intervals over images, in %, of aAcc, mAcc and mIoU.

    Args:
        areas: of each image, the four counts of pixels by class [K]: of the intersection, the union, the prediction
            and the label.
    """
    both, either, _, label = (torch.stack(column).double() for column in zip(*areas, strict=True))  # [N, K]
    weights = resamples(len(areas)).double()  # [R, N]

    def mean(above: Tensor, below: Tensor) -> tuple[float, float]:
        return interval(lambda weights: 100 * ((weights @ above) / (weights @ below)).nanmean(dim=1), weights)

    total = tuple(counts.sum(dim=1, keepdim=True) for counts in (both, label))
    return {"aAcc": mean(*total), "mAcc": mean(both, label), "mIoU": mean(both, either)}
