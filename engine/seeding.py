"""Randomness has an address: every stream is seeded from integers that name its place in the run."""

import random

import numpy as np
import torch


def mix(*address: int) -> int:
    """64 bits from an address such as (seed, epoch, sample index); nearby addresses give unrelated ones."""
    return int(np.random.SeedSequence(address).generate_state(1, np.uint64)[0])


def seed_host(*address: int) -> None:
    """Seed Python's, NumPy's and torch's CPU generators from an address: what a data set's augmentation draws from.

    No state is carried from one address to the next, so neither the number of workers nor an interruption can change
    what a sample draws.
    """
    state = mix(*address)
    random.seed(state)
    np.random.seed(state & 0xFFFFFFFF)
    # torch.manual_seed also visits every accelerator, which takes 200 times as long: too much to do for each sample.
    torch.default_generator.manual_seed(state & 0x7FFFFFFFFFFFFFFF)


def seed_everywhere(*address: int) -> None:
    """Seed as `seed_host` does, and the generators of every device: what a model's training step draws from."""
    seed_host(*address)
    torch.manual_seed(mix(*address) & 0x7FFFFFFFFFFFFFFF)
