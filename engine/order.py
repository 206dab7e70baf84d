"""The order of training samples and the random state each is augmented under: functions of (seed, epoch, index)."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler

from engine.blocks import BlockOrder
from engine.errors import UserError
from engine.seeding import seed_host
from engine.stop import shield


@DATASETS.register_module()
class Addressed(Dataset):
    """Wrap a dataset so that item (epoch, index) is always augmented alike.

    Args:
        dataset: the dataset, or its config.
        seed: the run's seed.

    Items are asked for by address = epoch * len(self) + index, which is what `AddressedSampler` yields. All
    else that is asked of it, such as the class names that mm* heads read, is the wrapped data set's.
    """

    def __init__(self, dataset: Dataset | dict, seed: int) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        if hasattr(self.dataset, "full_init"):
            self.dataset.full_init()
        self.seed = seed
        if len(self.dataset) == 0:
            raise UserError(f"the training set of {type(self.dataset).__name__} is empty: check its folder and split")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, address: int) -> Any:
        shield(os.getpid())
        epoch, index = divmod(address, len(self.dataset))
        seed_host(self.seed, epoch, index)
        return self.dataset[index]

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # while it is unpickled: it has nothing to hand on yet
            raise AttributeError(name)
        return getattr(self.dataset, name)


@DATA_SAMPLERS.register_module()
class AddressedSampler(Sampler[int]):
    """Endless shuffled addresses; epoch e is the permutation of (seed, e), whatever the number of processes.

    A set too large to permute has the order of `engine.blocks` instead, if `window` says over how many samples to mix.

    Process r of w takes positions r, r + w, r + 2w, ..., so the global batch is the same set for any w. `start_at`
    moves the cursor, which makes resuming exact and free.

    With `repeats` above 1 each sample comes that often in a row, every time under another random state, and an epoch
    is still as long: it holds the first of the permutation alone (repeated augmentation, Hoffer et al. 2020, as in
    DeiT).
    """

    def __init__(self, dataset: Dataset, seed: int, repeats: int = 1, window: int | None = None) -> None:
        if window is not None and window < 1:
            raise UserError(f"train_cfg.shuffle_window {window} is no number of samples: choose 1 or more")
        self.size, self.seed, self.repeats, self.window = len(dataset), seed, repeats, window
        self.rank, self.world_size = get_dist_info()
        self.start = 0

    def start_at(self, samples: int) -> None:
        """Begin the next iteration after `samples` samples of all processes together have been consumed."""
        self.start = samples

    def __iter__(self) -> Iterator[int]:
        position = self.start + self.rank
        current, order = None, None
        while True:
            epoch, offset = divmod(position, self.size)
            if epoch != current:
                current, order = epoch, self.order(epoch)
            place, again = divmod(offset, self.repeats)
            yield (epoch * self.repeats + again) * self.size + int(order[place])
            position += self.world_size

    def order(self, epoch: int) -> Sequence[int]:
        """The samples of an epoch in their order."""
        if self.window is not None:
            return BlockOrder(self.size, self.seed, epoch, self.window)
        return np.random.default_rng([self.seed, epoch]).permutation(self.size)

    def __len__(self) -> int:
        """One epoch's share of this process: what mmengine reports as the loader's length."""
        return -(-self.size // self.world_size)
