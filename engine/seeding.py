"""Randomness has an address: every stream is seeded from integers that name its place in the run."""

import random

import numpy as np
import torch


def seed_everywhere(*address: int) -> None:
    """Seed Python's, NumPy's and torch's global generators from an address such as (seed, epoch, sample index).

    Nearby addresses give unrelated streams (numpy's SeedSequence mixes the words), and no state is carried from one
    address to the next, so neither the number of workers nor an interruption can change what a sample draws.
    """
    state = int(np.random.SeedSequence(address).generate_state(1, np.uint64)[0])
    random.seed(state)
    np.random.seed(state & 0xFFFFFFFF)
    torch.manual_seed(state & 0x7FFFFFFFFFFFFFFF)
