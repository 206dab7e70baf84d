"""Pooled features of image files, computed once per encoder: k-NN and every seed of a linear probe read the same ones,
and an attentive probe that comes first leaves them there.

How they are kept: `backbones/feature_store.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from backbones.feature_store import digest_of, fingerprint, stored
from backbones.towers import Features
from datasets.class_folders import train_and_test
from datasets.images import read_rgb


def pooled_features(features: Features, files: Sequence[Path], made: Tensor | None = None) -> Tensor:
    """Image files, at least one -> the encoder's own pooled features, float32 [N, D] in main memory.

    Args:
        made: those features, where another pass over the same files in the same batches has just made them.

    Raises:
        UserError: an image that cannot be read, or features that are not finite.
    """
    about = [features.meta["encoder"], features.meta["image"]]
    name = fingerprint(digest_of(features.model), about, features.device, features.batch, files)
    return stored(features.store, name, lambda: compute(features, files) if made is None else made)


def compute(features: Features, files: Sequence[Path]) -> Tensor:
    """Image files -> pooled features, float32 [N, D], by the encoder."""
    return features.pool(map(read_rgb, tqdm(files, desc="features", unit="img", leave=False)))


def learnt_and_asked(
    features: Features,
    data: Mapping[str, Any],
    what: str,
    extract: Callable[[Features, Sequence[Path]], Tensor] = pooled_features,
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], int]:
    """What a classifier of frozen features learns from, and what it is asked.

    Args:
        data: kind "image_folder", with train and test, each a folder with a folder per class.
        what: needs them, for the message.
        extract: image files -> features [N, ...].

    Returns: training features and labels int64 [N], test features and labels, and how many classes there are.

    Raises:
        UserError: another kind, folders that cannot be read, or whose classes differ.
    """
    *parts, names = train_and_test(data, what)
    learnt, asked = (
        (extract(features, [path for path, _ in part]), torch.tensor([number for _, number in part])) for part in parts
    )
    return learnt, asked, len(names)
