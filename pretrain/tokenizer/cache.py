"""Token ids of all images, computed once and kept beside the data, for views without randomness.

With `train_dataloader.dataset.token_cache = True` the items of the data set have "ids" in place of "pixels", and no
step runs the tokenizer. It asks for views that show an image always alike: scale=(1, 1) and flip=0.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device
from tqdm import tqdm

from datasets.shards import cache_folder
from engine.caches import ensure_cached
from engine.errors import UserError
from engine.files import sha256
from engine.provenance import digest
from pretrain.data.augment import View
from pretrain.data.dataset import CorruptSample
from pretrain.tokenizer.load import build_tokenizer
from pretrain.tokenizer.training import data_fingerprint, pixel_dataset, pixel_views

VERSION = 1
BATCH = 64


def fill_token_cache(model: Mapping[str, Any], dataset: dict[str, Any]) -> None:
    """Replace `dataset.token_cache = True` by a file, made first where there is none.

    Args:
        model: the model's config with its tokenizer's file.
        dataset: the training data's config, complete.
    """
    if not dataset.get("token_cache"):
        dataset.pop("token_cache", None)
    elif dataset["token_cache"] is True:
        if not model.get("tokenizer"):
            raise UserError(
                "token_cache needs a model with a tokenizer (BEiT, CAE): drop it from the data set's config"
            )
        dataset["token_cache"] = str(ensure_token_cache(model["tokenizer"], dataset))


def ensure_token_cache(spec: Mapping[str, Any], dataset: Mapping[str, Any]) -> Path:
    """The file of all images' token ids, [n, N] of the smallest unsigned type that holds the vocabulary.

    Args:
        spec: the tokenizer, with its file.
        dataset: the training data's config, complete; the rows of its corrupt samples are 0.
    """
    views = pixel_views(dataset)
    if dataset.get("colour") is not None:
        raise UserError(
            "token_cache keeps one row of ids for each image, but train_dataloader.dataset.colour is drawn anew each "
            "time: drop one of the two"
        )
    for name, view in views.items():
        require_fixed(name, {"size": dataset["size"], **view})
    settings = [VERSION, sha256(spec["file"]), views, dataset["size"]]
    name = f"ids-{data_fingerprint(dataset)[:16]}-{digest(settings)[:16]}.npy"
    path = cache_folder(Path(dataset["root"])) / name
    return ensure_cached(path, lambda temporary: write_ids(temporary, spec, dataset, views))


def require_fixed(name: str, view: Mapping[str, Any]) -> None:
    """Raise UserError if a view shows an image differently from one time to the next."""
    made = View(**{key: value for key, value in view.items() if key != "of"})
    if made.colour is not None or made.count is not None or not (view.get("of") or made.crop.fixed):
        raise UserError(
            f"token_cache keeps one row of ids for each image, but the view {name!r} is drawn anew each time: give it "
            "scale=(1, 1), flip=0 and neither colour nor count, or drop token_cache"
        )


def write_ids(path: Path, spec: Mapping[str, Any], dataset: Mapping[str, Any], views: Mapping[str, Any]) -> None:
    """Compute and store the ids of all images."""
    data, device = pixel_dataset(dataset, views), get_device()
    tokenizer = build_tokenizer(spec).to(device)
    side = data.views["pixels"].crop.size // tokenizer.reduction
    shape = len(data), side**2
    rows = np.lib.format.open_memmap(path, "w+", np.min_scalar_type(tokenizer.vocabulary - 1), shape)
    with open(path, "r+b") as handle:  # a disk that has no room says so here; later it would end the process
        os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
    for start in tqdm(range(0, len(data), BATCH), desc="token ids", unit_scale=BATCH, unit="img"):
        places, pictures = [], []
        for index in range(start, min(start + BATCH, len(data))):
            try:
                pictures.append(data.load(index)["pixels"])
                places.append(index)
            except CorruptSample:
                continue  # counted and named when the run draws it
        if places:
            rows[places] = tokenizer.ids(torch.stack(pictures).to(device)).cpu().numpy()
    rows.flush()
