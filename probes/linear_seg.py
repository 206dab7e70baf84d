"""Linear segmentation: BatchNorm and a 1x1 convolution on frozen maps (Oquab et al. 2023, DINOv2).

The published recipe draws a crop of every image anew and tests by sliding windows; here the encoder sees each image
once, whole, at the data section's size (docs/protocols.md, "Dense probes"), so that training takes seconds.
"""

from mmengine.config import Config
from torch import Tensor
from torch.nn import functional as F

from backbones.patch_maps import PatchMaps
from datasets.sections import read_section
from datasets.segmentation import IGNORED
from engine.outcome import Outcome
from probes.config import recipe_of
from probes.data import segmentation, tested_split
from probes.features import stored_maps
from probes.linear_map import outputs, train
from probes.segmentation import measure, upsampled

PART = PatchMaps


def run(cfg: Config, part: PatchMaps) -> Outcome:
    """Train a linear map on a data set's training images and test it on its test images.

    Args:
        cfg: data of kind "seg"; probe, see `probes.config.Linear` (a batch larger than the training set is one of all
            images); seed, of the weights and of the order of images.
    """
    data, recipe = read_section(cfg.data), recipe_of(cfg)
    learnt, asked = segmentation(data, "train"), segmentation(data, tested_split(cfg))
    maps, tested = (stored_maps(part, images.files, data.size, recipe.taps) for images in (learnt, asked))
    head, settings, pace = train(
        maps, learnt.labels(data.size), len(data.classes), pixel_loss, recipe, cfg.seed, part.device
    )
    measures, details = measure(cfg, outputs(head, tested), asked, list(data.classes))
    return Outcome(measures, settings, pace, details)


def pixel_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy over all pixels that count.

    Args:
        scores: [B, K, h, w], upsampled to the labels' size. labels: uint8 [B, H, W].

    Returns: a scalar, 0 where every pixel is ignored.
    """
    labels = labels.long()
    whole = F.cross_entropy(upsampled(scores, tuple(labels.shape[1:])), labels, ignore_index=IGNORED, reduction="sum")
    return whole / (labels != IGNORED).sum().clamp(min=1)
