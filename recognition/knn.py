"""Weighted k-nearest-neighbour classification of frozen features (Wu et al. 2018, with the defaults of DINO).

A test image takes the class with the largest sum of exp(cosine / temperature) among its k nearest training images.
"""

import torch
from mmengine.config import Config
from torch import Tensor
from torch.nn import functional as F

from backbones.towers import Features
from engine.errors import UserError
from engine.outcome import Outcome
from recognition.feature_store import learnt_and_asked
from recognition.measures import Answer, accuracies

PART = Features

NEIGHBOURS, TEMPERATURE = 20, 0.07
MEMORY = 256 * 2**20  # bytes for one block of similarities


def run(cfg: Config, features: Features) -> Outcome:
    """Accuracy of the vote of `cfg.neighbours` training images of `cfg.data`, as in `learnt_and_asked`."""
    (known, labels), (asked, truth), classes = learnt_and_asked(features, cfg.data, "k-NN")
    nearest = classify(F.normalize(known, dim=-1), labels, F.normalize(asked, dim=-1), cfg.neighbours)
    return Outcome(accuracies([Answer(nearest[:, None], truth, classes)]))


def classify(
    train: Tensor, labels: Tensor, test: Tensor, neighbours: int = NEIGHBOURS, temperature: float = TEMPERATURE
) -> Tensor:
    """Class of each test image, int64 [M]; of classes with equal sums the first.

    Args:
        train: [N, D] and test: [M, D], features of unit length.
        labels: int64 [N], of the training images.

    Raises:
        UserError: fewer training images than neighbours.
    """
    if not 1 <= neighbours <= len(train):
        raise UserError(f"k-NN with {neighbours} neighbours needs as many training images, not {len(train)}: lower it")
    classes = int(labels.max()) + 1
    found = []
    for block in test.split(max(1, MEMORY // (4 * len(train)))):
        nearest = (block @ train.T).topk(neighbours, dim=1)  # [b, k]
        # the nearest weighs 1: exp() of a large cosine over a small temperature would overflow
        weight = ((nearest.values - nearest.values[:, :1]) / temperature).exp()
        votes = torch.zeros(len(block), classes).scatter_add_(1, labels[nearest.indices], weight)  # [b, C]
        found.append(votes.argmax(dim=1))
    return torch.cat(found)
