"""Pooled features of image files, computed once per encoder: k-NN and every seed of a linear probe read the same ones.

They lie in `features/` beside the checkpoint folder, a safetensors file per encoder and list of images. Its name is
a hash of all that decides the numbers: the encoder and its weights, image size and normalisation, torch's version,
device and threads, and each file's path, size and time of change. So nothing there can be out of date, and deleting it
costs time only.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from backbones.towers import Features
from datasets.class_folders import train_and_test
from datasets.images import read_rgb
from engine.caches import ensure_cached
from engine.errors import UserError


def pooled_features(features: Features, files: Sequence[Path]) -> Tensor:
    """Image files, at least one -> the encoder's own pooled features, float32 [N, D] in main memory.

    Read from `features.store` if they are there, else computed and stored; only computed where that folder cannot be
    written. Another process that wants the same ones waits for the first; a stored file that is damaged is made again.

    Raises:
        UserError: an image that cannot be read, or features that are not finite.
    """
    if not os.access(features.store.parent, os.W_OK):
        return compute(features, files)
    stored = features.store / f"{fingerprint(features, files)}.safetensors"
    ensure_cached(stored, lambda path: save_file({"features": compute(features, files)}, path))
    return load_file(stored)["features"]


def compute(features: Features, files: Sequence[Path]) -> Tensor:
    """Image files -> pooled features, float32 [N, D], by the encoder."""
    return features.pool(map(read_rgb, tqdm(files, desc="features", unit="img", leave=False)))


def fingerprint(features: Features, files: Sequence[Path]) -> str:
    """64 hexadecimal digits that change with anything that decides the features of `files`.

    Equal weights are not yet the same encoder: the number of heads and the activation are in none of them.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(features.model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    runtime = [torch.__version__, features.device.type, torch.get_num_threads(), features.batch]
    try:
        found = [(str(path.absolute()), path.stat()) for path in files]
    except OSError as error:
        raise UserError(
            f"image {error.filename} cannot be read ({error.strerror}): fetch it again or remove it"
        ) from None
    listed = [(name, about.st_size, about.st_mtime_ns) for name, about in found]
    digest.update(json.dumps([features.meta["encoder"], features.meta["image"], runtime, listed]).encode())
    return digest.hexdigest()


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
