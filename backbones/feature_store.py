"""Features of image files that a frozen encoder computes once, for every test and seed that asks for the same ones.

They lie in `features/` beside the checkpoint folder, a safetensors file per encoder and list of images. Its name is
a hash of all that decides the numbers: the encoder and its weights, image size and normalisation, torch's version,
device and threads, and each file's path, size and time of change. So nothing there can be out of date, and deleting it
costs time only.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.caches import ensure_cached
from engine.errors import UserError


def stored(place: Path, name: str, compute: Callable[[], Tensor]) -> Tensor:
    """The features of one name, read from the folder `place` if they are there, else computed and stored.

    Only computed where that folder cannot be written. Another process that wants the same ones waits for the first; a
    stored file that is damaged is made again. What is read is mapped from the file.

    Args:
        place: a folder to be made beside a checkpoint. name: from `fingerprint`.

    Raises:
        UserError: what `compute` raises, or a full disk.
    """
    if not os.access(place.parent, os.W_OK):
        return compute()
    path = place / f"{name}.safetensors"
    # contiguous: maps of ConvNeXt and Swin come channels-last
    ensure_cached(path, lambda temporary: save_file({"features": compute().contiguous()}, temporary))
    return load_file(path)["features"]


def digest_of(model: nn.Module) -> str:
    """64 hexadecimal digits of a model's weights and buffers, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fingerprint(weights: str, about: Sequence[Any], device: torch.device, batch: int, files: Sequence[Path]) -> str:
    """64 hexadecimal digits that change with anything that decides the features of `files`.

    Args:
        weights: `digest_of` the model. Equal weights are not yet the same encoder: the number of heads and the
            activation are in none of them.
        about: what else decides, as JSON takes it: the encoder, its normalisation, which features.
        device: where they are computed. batch: images in one forward pass.

    Raises:
        UserError: a file that is not there.
    """
    runtime = [torch.__version__, device.type, torch.get_num_threads(), batch]
    try:
        found = [(str(path.absolute()), path.stat()) for path in files]
    except OSError as error:
        raise UserError(
            f"image {error.filename} cannot be read ({error.strerror}): fetch it again or remove it"
        ) from None
    listed = [(name, about_file.st_size, about_file.st_mtime_ns) for name, about_file in found]
    return hashlib.sha256(json.dumps([weights, list(about), runtime, listed]).encode()).hexdigest()
