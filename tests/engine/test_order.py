"""The order of samples and their random state are functions of (seed, epoch, index) alone."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from engine.errors import UserError
from engine.order import Addressed, AddressedSampler
from engine.seeding import seed_everywhere


class Draws(Dataset):
    """Items are their index and one draw from each global generator."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))


def batches(workers, count=9, start=0, seed=3, size=10):
    data = Addressed(Draws(size), seed)
    sampler = AddressedSampler(data, seed)
    sampler.start_at(start)
    loader = DataLoader(data, batch_size=4, sampler=sampler, num_workers=workers)
    return [torch.stack([b.double() for b in batch]) for batch in itertools.islice(loader, count)]


def test_any_number_of_workers_gives_the_same_batches():
    reference = batches(0)
    for workers in (1, 3):
        assert all(torch.equal(a, b) for a, b in zip(reference, batches(workers), strict=True))


def test_starting_later_equals_skipping():
    assert all(torch.equal(a, b) for a, b in zip(batches(0, 9)[5:], batches(0, 4, start=5 * 4), strict=True))


def test_each_epoch_is_a_permutation_with_fresh_augmentation():
    rows = torch.cat(batches(0, 10), dim=1)  # [4, 40]: four epochs of ten
    epochs = rows[0].reshape(4, 10)
    assert all(sorted(e.tolist()) == list(range(10)) for e in epochs)
    assert len({tuple(e.tolist()) for e in epochs}) == 4
    assert len(set(rows[1].tolist())) == 40, "an image seen twice was augmented alike"


def test_another_seed_is_another_order():
    assert not torch.equal(batches(0)[0], batches(0, seed=4)[0])


def test_two_processes_share_what_one_would_see(monkeypatch):
    alone = AddressedSampler(range(10), seed=1)
    expected = list(itertools.islice(alone, 24))
    parts = []
    for rank in range(2):
        monkeypatch.setattr("engine.order.get_dist_info", lambda rank=rank: (rank, 2))
        parts.append(list(itertools.islice(AddressedSampler(range(10), seed=1), 12)))
    assert [value for pair in zip(*parts, strict=True) for value in pair] == expected


def test_repeated_augmentation_shows_a_third_of_the_images_three_times():
    data = Addressed(Draws(12), 3)
    sampler = AddressedSampler(data, 3, repeats=3)
    assert sampler.repeats == 3
    addresses = list(itertools.islice(sampler, 24))
    rows = [data[address] for address in addresses]
    for epoch in (rows[:12], rows[12:]):
        images = [row[0] for row in epoch]
        assert images == [image for image in images[::3] for _ in range(3)] and len(set(images)) == 4
    assert [row[0] for row in rows[:12]] != [row[0] for row in rows[12:]]
    assert len({row[1:] for row in rows}) == 24, "an image was augmented twice alike"
    sampler.start_at(17)
    assert list(itertools.islice(sampler, 7)) == addresses[17:]


def test_an_empty_set_is_refused():
    with pytest.raises(UserError, match="empty"):
        Addressed(Draws(0), 0)


def test_neighbouring_addresses_are_unrelated():
    draws = []
    for address in itertools.product(range(10), range(10), range(10)):
        seed_everywhere(*address)
        draws.append([random.random(), np.random.rand(), float(torch.rand(()))])
    draws = np.array(draws)
    assert np.abs(np.corrcoef(draws[:-1].T, draws[1:].T)[:3, 3:]).max() < 0.12
    assert np.abs(draws.mean(0) - 0.5).max() < 0.04
