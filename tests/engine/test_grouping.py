"""Groups of one orientation: the order of a plain grouping, from any iteration on, for any number of processes."""

import itertools

import numpy as np
import pytest

from engine.errors import UserError
from engine.grouping import GroupedSampler
from engine.order import AddressedSampler


class Pictures:
    """Data of which only the shapes matter; `tall` of them are higher than wide, every fifth is square."""

    def __init__(self, size, tall):
        high = np.random.default_rng(size + tall).permutation(size) < tall
        self.shapes = np.where(high[:, None], (20, 10), (10, 20))
        self.shapes[~high & (np.arange(size) % 5 == 0)] = (10, 10)

    def __len__(self):
        return len(self.shapes)


def plainly(data, seed, group, count):
    """mmdet's buckets on the endless order, until `count` groups are whole."""
    buckets, groups = {True: [], False: []}, []
    for address in AddressedSampler(data, seed):
        height, width = data.shapes[address % len(data)]
        bucket = buckets[bool(width >= height)]
        bucket.append(address)
        if len(bucket) == group:
            groups.append(bucket[:])
            del bucket[:]
            if len(groups) == count:
                return groups


@pytest.mark.parametrize("size, tall, group", [(17, 5, 2), (10, 1, 4), (11, 0, 3), (9, 9, 2), (3, 1, 5), (40, 13, 4)])
def test_the_order_of_a_plain_grouping(monkeypatch, size, tall, group):
    data = Pictures(size, tall)
    expected = plainly(data, 3, group, 36)
    for processes, start in ((1, 0), (1, 7), (2, 0), (3, 12)):
        shares = []
        for rank in range(processes):
            monkeypatch.setattr("engine.order.get_dist_info", lambda rank=rank, all=processes: (rank, all))
            sampler = GroupedSampler(data, 3, group)
            sampler.start_at(start * group)
            mine = iter(sampler)
            shares.append([list(itertools.islice(mine, group)) for _ in range((36 - start) // processes)])
        found = [share[k] for k in range(len(shares[0])) for share in shares]
        assert found == expected[start : start + len(found)]
    wide = [[bool(data.shapes[a % size][1] >= data.shapes[a % size][0]) for a in g] for g in expected]
    assert all(len({*kinds}) == 1 for kinds in wide)


def test_every_image_comes_once_for_every_epoch():
    data = Pictures(17, 5)
    sampler = iter(GroupedSampler(data, 0, 4))
    seen = [next(sampler) for _ in range(17 * 40)]
    assert len({*seen}) == len(seen)
    assert {*range(17 * 38)} <= {*seen}, "what an epoch leaves over comes in the next"


def test_a_set_without_shapes_is_refused():
    with pytest.raises(UserError, match="train_cfg.by_aspect: this data set does not know the shapes of its images"):
        GroupedSampler(range(4), 0, 2)
