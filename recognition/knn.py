"""Weighted k-nearest-neighbour classification of frozen features (Wu et al. 2018, with the defaults of DINO).

A test image takes the class with the largest sum of exp(cosine / temperature) among its k nearest training images.
"""

import torch
from torch import Tensor

from engine.errors import UserError

NEIGHBOURS, TEMPERATURE = 20, 0.07
MEMORY = 256 * 2**20  # bytes for one block of similarities


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
