"""Linear depth: BatchNorm and a 1x1 convolution to bins of depth on frozen maps (Oquab et al. 2023, DINOv2).

DINOv2's regression over bins (facebookresearch/dinov2, eval/depth/models/decode_heads: 256 bins, "UD", "linear", after
AdaBins): scores of depths spaced evenly over [MIN_DEPTH, max_depth] are upsampled to four times the grid; the depth
is the mean of the bins weighted by relu(score) + 0.1, upsampled bilinearly.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from backbones.patch_maps import PatchMaps
from datasets.depth import MIN_DEPTH
from datasets.sections import read_section
from engine.outcome import Measure, Outcome, interval, resamples
from probes.config import recipe_of
from probes.data import LabelledImages, depths, tested_split
from probes.features import stored_maps
from probes.linear_map import outputs, train
from probes.measures import evaluator, measures
from probes.segmentation import upsampled

PART = PatchMaps
UPSAMPLE = 4  # of the grid, before scores become depths
FLOOR = 0.1  # of every bin's weight
MEAN_WEIGHT = 0.15  # of the squared mean in the loss; the variance weighs 1
EPS = 1e-3  # metres, added before the logarithm


def run(cfg: Config, part: PatchMaps) -> Outcome:
    """Train a linear map to bins on a data set's training images and test it on its test images.

    Args:
        cfg: data of kind "depth"; probe, see `probes.config.Bins`; seed, of the weights and of the order of images.
    """
    data, recipe = read_section(cfg.data), recipe_of(cfg)
    learnt, asked = depths(data, "train"), depths(data, tested_split(cfg))
    maps, tested = (stored_maps(part, images.files, data.size, recipe.taps) for images in (learnt, asked))
    bins = torch.linspace(MIN_DEPTH, data.max_depth, recipe.bins, device=part.device)
    loss = partial(depth_loss, bins=bins, max_depth=data.max_depth)
    targets = learnt.labels(data.size).astype(np.float16)  # half the memory; its step at 10 m is 8 mm
    head, settings, pace = train(maps, targets, recipe.bins, loss, recipe, cfg.seed, part.device)
    found = (depth_of(scores[None], bins)[0] for scores in outputs(head, tested))
    return Outcome(measure(cfg, found, asked), settings, pace)


def depth_of(scores: Tensor, bins: Tensor) -> Tensor:
    """Scores of bins [B, bins, h, w] -> depth [B, 1, UPSAMPLE h, UPSAMPLE w] in metres."""
    grid = tuple(UPSAMPLE * side for side in scores.shape[-2:])
    weight = upsampled(scores, grid).relu() + FLOOR
    return torch.einsum("bnhw,n->bhw", weight, bins)[:, None] / weight.sum(dim=1, keepdim=True)


def depth_loss(scores: Tensor, target: Tensor, bins: Tensor, max_depth: float) -> Tensor:
    """DINOv2's `SigLoss`: sqrt(var(g) + 0.15 mean(g)^2) of g = log(depth) - log(target) over the batch's valid pixels.

    Args:
        scores: [B, bins, h, w]. target: [B, H, W] in metres.

    Returns: a scalar, nearly 0 where no pixel is valid.
    """
    target = target.float()[:, None]
    valid = (target > MIN_DEPTH) & (target < max_depth)
    depth = upsampled(depth_of(scores, bins), tuple(target.shape[-2:]))
    g = torch.where(valid, (depth + EPS).log() - (target.clamp(min=0) + EPS).log(), 0.0)
    count = valid.sum()
    mean = g.sum() / count.clamp(min=1)
    variance = torch.where(valid, g - mean, 0.0).square().sum() / (count - 1).clamp(min=1)
    return (variance + MEAN_WEIGHT * mean.square()).clamp(min=1e-12).sqrt()  # the clamp: no infinite slope at 0


def measure(cfg: Config, found: Iterator[Tensor], asked: LabelledImages) -> list[Measure]:
    """The metrics of `cfg.metrics` by the evaluator of the depth head, with intervals over images.

    Args:
        found: the depth [1, h, w] of each image of `asked`, in order.
    """
    metric = evaluator(cfg)
    for number, depth in enumerate(found):
        wanted = torch.from_numpy(asked.label(number))
        predicted = upsampled(depth[None].cpu(), tuple(wanted.shape))[0]
        sample = {"gt_depth_map": {"data": wanted[None]}, "pred_depth_map": {"data": predicted}}
        metric.process({}, [{**sample, "img_path": str(asked.files[number])}])
    return measures(cfg, metric, intervals(metric.results))


def intervals(errors: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """95 % intervals over images of the errors that are means over images."""
    weights = resamples(len(errors)).double()  # [R, N]
    columns = {name: torch.tensor([row[name] for row in errors], dtype=torch.float64) for name in errors[0]}
    return {name: interval(lambda weights, each=each: weights @ each / len(each), weights)
            for name, each in columns.items() if name != "pixels"}  # fmt: skip
