"""The block order shows each sample once, is found at any position, and keeps what is near in one window."""

import itertools

import numpy as np
import pytest

from engine import blocks
from engine.blocks import BlockOrder
from engine.errors import UserError
from engine.order import AddressedSampler


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 4)


@pytest.mark.parametrize(("size", "window"), itertools.product([1, 4, 7, 16, 41, 42], [1, 4, 9, 100]))
def test_it_is_what_shuffling_blocks_then_windows_gives(size, window):
    order = BlockOrder(size, 3, 5, window)
    shown = [order[position] for position in range(size)]
    assert sorted(shown) == list(range(size))
    assert [order[p] for p in reversed(range(size))] == shown[::-1], "a position does not depend on what was asked for"
    at, per = 0, -(-window // 4)
    for first in range(0, len(order.blocks), per):  # each window holds just the samples of its blocks
        held = {s for block in order.blocks[first : first + per] for s in range(4 * block, min(4 * block + 4, size))}
        assert set(shown[at : at + len(held)]) == held
        at += len(held)


def test_seed_and_epoch_change_it():
    orders = {tuple(BlockOrder(40, seed, epoch, 16)[p] for p in range(40)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_the_sampler_takes_it_and_resumes_in_it(monkeypatch):
    def taken(count, start=0, rank=0, world=1):
        monkeypatch.setattr("engine.order.get_dist_info", lambda: (rank, world))
        sampler = AddressedSampler(range(23), seed=1, window=8)
        sampler.start_at(start)
        return list(itertools.islice(sampler, count))

    alone = taken(60)
    assert [sorted(a % 23 for a in alone[e * 23 : e * 23 + 23]) for e in range(2)] == [list(range(23))] * 2
    assert taken(20, start=40) == alone[40:]
    shares = [taken(30, rank=rank, world=2) for rank in range(2)]
    assert [address for pair in zip(*shares, strict=True) for address in pair] == alone
    with pytest.raises(UserError, match="shuffle_window 0 is no number of samples"):
        AddressedSampler(range(3), 0, window=0)


def test_memory_does_not_grow_with_the_samples(monkeypatch):
    monkeypatch.undo()
    held = []
    for size in (10**6, 10**9):
        order = BlockOrder(size, 0, 0, 2**19)
        assert 0 <= order[size - 1] < size
        held.append(order.blocks.nbytes + order.current[1].nbytes)
    assert held[1] < held[0] + 8 * (10**9 // 8192 + 1) and np.log2(held[1]) < 23
