"""Nested subsets of image-text shards, for curves over the size of the data: each is part of every larger one."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets.shards import load_index
from datasets.tar_headers import key_and_extension
from engine.config import check_seed
from engine.errors import UserError
from engine.files import whole_folder


def nested_subsets(samples: int, sizes: Sequence[int], seed: int = 0) -> dict[int, np.ndarray]:
    """Size -> which of `samples` it holds, rising indices; the first ones of one random order.

    Raises:
        UserError: a size that is not within 1 .. samples, or a seed that the generator cannot take.
    """
    check_seed(seed)
    order = np.random.default_rng(seed).permutation(samples)
    for size in sizes:
        if not 1 <= size <= samples:
            raise UserError(f"a subset of {size} of {samples} samples cannot be drawn: choose from 1 to {samples}")
    return {size: np.sort(order[:size]) for size in sizes}


def write_subsets(root: Path, out: Path, sizes: Sequence[int], pattern: str = "*.tar", seed: int = 0) -> list[Path]:
    """Copy nested subsets of the shards in `root` to `out`/<size>, members as they are, under the shards' own names.

    Returns: the folders, each complete once it has its name.

    Raises:
        UserError: shards that cannot be read, a size that they do not have, or a folder that is already there.
    """
    index = load_index(root, pattern)
    chosen = nested_subsets(len(index), sizes, seed)
    folders = {size: out / str(size) for size in chosen}
    if taken := [folder for folder in folders.values() if folder.exists()]:
        raise UserError(f"{taken[0]} is already there: delete it, or name another folder")
    for size, folder in folders.items():
        owner = index.owner(chosen[size])
        with whole_folder(folder) as new:
            for number in tqdm(np.unique(owner), desc=f"subset of {size}", unit="tar", disable=None):
                shard = index.shards[number]
                rows = chosen[size][owner == number] - index.first[number]
                keys = index.keys(number)
                copy_samples(shard, new / shard.name, {keys[row] for row in rows})
    return list(folders.values())


def copy_samples(source: Path, target: Path, keys: set[str]) -> None:
    """Copy all members of the samples `keys` from one tar to a new one."""
    with tarfile.open(source, "r:") as old, tarfile.open(target, "w") as new:
        for member in old:
            if member.isfile() and key_and_extension(member.name)[0] in keys:
                new.addfile(member, old.extractfile(member))
