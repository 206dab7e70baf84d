"""k-NN segmentation: each patch of a test image takes the labels of the training patches whose features are nearest.

Dense retrieval of Balazevic et al. 2023 (Hummingbird), as vpariza/open-hummingbird-eval evaluates it: a bank of
training patches, each with the share of every class among its pixels; a test patch's scores are the shares of its k
nearest, by cosine, weighted by softmax(cosine / temperature), and are upsampled to pixels. Nothing is trained.
"""

from collections.abc import Iterator

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor
from torch.nn import functional as F

from backbones.patch_maps import PatchMaps
from datasets.sections import read_section
from datasets.segmentation import IGNORED
from engine.errors import UserError
from engine.outcome import Outcome
from engine.transfer import moved
from probes.config import recipe_of
from probes.data import segmentation, tested_split
from probes.features import Rows, stored_maps
from probes.segmentation import measure

PART = PatchMaps
MEMORY = 256 * 2**20  # bytes for one block of similarities, and for one of its neighbours' shares


def run(cfg: Config, part: PatchMaps) -> Outcome:
    """Mean IoU of the vote of `cfg.neighbours` training patches.

    Args:
        cfg: data of kind "seg"; neighbours; and probe, see `probes.config.Vote`.

    Raises:
        UserError: fewer labelled training patches than neighbours.
    """
    data, recipe = read_section(cfg.data), recipe_of(cfg)
    learnt, asked = segmentation(data, "train"), segmentation(data, tested_split(cfg))
    maps, tested = (stored_maps(part, images.files, data.size, recipe.taps) for images in (learnt, asked))
    stride, classes = part.stride(recipe.taps), list(data.classes)
    bank, shares = remember(maps, learnt.labels(data.size), stride, len(classes), recipe.bank)
    if not 1 <= cfg.neighbours <= len(bank):
        raise UserError(
            f"k-NN with {cfg.neighbours} neighbours needs as many labelled patches, not {len(bank)}: lower neighbours"
        )
    bank, shares = bank.to(part.device), shares.to(part.device)
    found = scores(tested, bank, shares, cfg.neighbours, recipe.temperature)
    measures, details = measure(cfg, found, asked, classes)
    return Outcome(measures, {"train_images": len(learnt)}, details=details)


def class_shares(labels: np.ndarray, grid: tuple[int, int], stride: int, classes: int) -> np.ndarray:
    """The share of each class among the pixels that count of each cell, float32 [h * w, classes]; NaN without any.

    Args:
        labels: uint8 [H, W]. grid: (h, w); cell (i, j) covers pixels [i stride, (i + 1) stride) of rows, likewise j.
    """
    rows, columns = (np.arange(side) // stride for side in labels.shape)
    cell = rows[:, None] * grid[1] + columns  # [H, W]
    counted = labels != IGNORED
    place = cell[counted] * classes + labels[counted]
    counts = np.bincount(place, minlength=grid[0] * grid[1] * classes).reshape(-1, classes).astype(np.float32)
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(axis=1, keepdims=True)


def remember(maps: Rows, labels: np.ndarray, stride: int, classes: int, most: int) -> tuple[Tensor, Tensor]:
    """The bank: features of unit length [M, D] and class shares [M, classes] of labelled training patches.

    Args:
        maps: of N images. labels: uint8 [N, H, W] at the size that the maps were made at.
        most: patches; beyond, each image gives as many as every other, drawn by its number.
    """
    share = max(1, most // len(maps))
    features, known = [], []
    for number, found in enumerate(block[0] for block in maps.blocks(1)):
        shares = class_shares(labels[number], tuple(found.shape[1:]), stride, classes)
        (useful,) = np.nonzero(np.isfinite(shares[:, 0]))
        if len(useful) > share:
            useful = np.sort(np.random.default_rng([0, number]).choice(useful, share, replace=False))
        features.append(F.normalize(found.flatten(1).T[torch.from_numpy(useful)], dim=1))
        known.append(torch.from_numpy(shares[useful]))
    return torch.cat(features), torch.cat(known)


def scores(maps: Rows, bank: Tensor, shares: Tensor, neighbours: int, temperature: float) -> Iterator[Tensor]:
    """The scores [classes, h, w] of each image."""
    for (found,) in maps.blocks(1):
        queries = F.normalize(moved(found.flatten(1).T, bank.device), dim=1)  # [h * w, D]
        yield vote(queries, bank, shares, neighbours, temperature).T.unflatten(1, found.shape[1:])


def vote(queries: Tensor, bank: Tensor, shares: Tensor, neighbours: int, temperature: float) -> Tensor:
    """Weighted mean of the shares of each query's nearest entries of the bank, [Q, classes].

    Args:
        queries: [Q, D] and bank: [M, D], of unit length. shares: [M, classes].
    """
    widest = max(len(bank), neighbours * shares.shape[1])
    found = []
    for block in queries.split(max(1, MEMORY // (4 * widest))):
        near = (block @ bank.T).topk(neighbours, dim=1)  # [q, k]
        weight = (near.values / temperature).softmax(dim=1)
        found.append(torch.einsum("qk,qkc->qc", weight, shares[near.indices]))
    return torch.cat(found)
