"""Iteration i draws and sees the same whatever happened before it; two processes draw differently."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from engine.loop import AddressedLoop
from engine.optim import SteadyOptimWrapper
from engine.order import Addressed, AddressedSampler

SEED, SIZE, BATCH = 11, 10, 4


class Numbers(Dataset):
    """Items are their index and a draw."""

    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        return index, random.random()


class Drawing(nn.Module):
    """A model whose training step records its batch and what a mask, dropout and a numpy user would draw."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.seen = []

    def train_step(self, batch, optim_wrapper):
        draws = [torch.randperm(64), self.dropout(torch.ones(64)), torch.bernoulli(torch.full((64,), 0.5))]
        draws = torch.cat([d.double() for d in draws]).tolist() + [float(np.random.rand()), random.random()]
        self.seen.append(([b.tolist() for b in batch], draws))
        return {"loss": torch.zeros(())}


def iterate(start=0, stop=6, seed=SEED, disturb=False, stop_at=None):
    """Run iterations start..stop; return {iteration: (batch, draws)} and the hooks that were called."""
    calls, model = [], Drawing()

    def call_hook(name, **arguments):
        calls.append((name, arguments.get("batch_idx")))
        if name == "before_train":
            loop.resume_at(start)
        # What an evaluation, a picture or another library may do between two steps.
        if disturb and name != "before_train_iter":  # which belongs to the step: it comes after seeding
            torch.rand(7), np.random.rand(3), random.random()
            torch.manual_seed(len(calls))
        if stop_at is not None and arguments.get("batch_idx") == stop_at and name == "after_train_iter":
            loop.stop_training = True

    data = Addressed(Numbers(), seed)
    loader = DataLoader(data, BATCH, sampler=AddressedSampler(data, seed))
    runner = SimpleNamespace(seed=seed, model=model, optim_wrapper=None, call_hook=call_hook)
    loop = AddressedLoop(runner, loader, max_iters=stop)
    assert loop.run() is model
    return {start + k: seen for k, seen in enumerate(model.seen)}, calls, loop


@pytest.fixture(scope="module")
def straight():
    return iterate()[0]


@pytest.mark.parametrize("start", [1, 3, 5])
def test_an_iteration_does_not_depend_on_what_came_before(straight, start):
    resumed = iterate(start)[0]
    assert list(resumed) == list(range(start, 6))
    assert all(resumed[i] == straight[i] for i in resumed)


def test_generators_disturbed_between_steps_change_nothing(straight):
    assert iterate(disturb=True)[0] == straight


def test_iterations_seeds_and_processes_draw_differently(straight, monkeypatch):
    draws = [tuple(draws) for _, draws in straight.values()]
    assert len(set(draws)) == 6
    assert iterate(seed=SEED + 1)[0][0][1] != straight[0][1]
    monkeypatch.setattr("engine.loop.get_rank", lambda: 1)
    other = [tuple(draws) for _, draws in iterate()[0].values()]
    assert not set(other) & set(draws), "two processes would drop the same units"


def test_every_sample_once_an_epoch(straight):
    order = [index for batch, _ in straight.values() for index in batch[0]][: 2 * SIZE]
    assert sorted(order[:SIZE]) == sorted(order[SIZE:]) == list(range(SIZE)) and order[:SIZE] != order[SIZE:]


def test_two_processes_resume_at_the_right_sample(monkeypatch):
    """The cursor counts the samples of all processes."""
    monkeypatch.setattr("engine.loop.get_world_size", lambda: 2)
    monkeypatch.setattr("engine.order.get_dist_info", lambda: (1, 2))
    whole, tail = iterate(0, 4)[0], iterate(2, 4)[0]
    assert tail[2] == whole[2] and tail[3] == whole[3]


def test_hooks_are_called_in_order():
    _, calls, loop = iterate(stop=2)
    around = [(name, i) for i in (0, 1) for name in ("before_train_iter", "after_train_iter")]
    assert calls == [("before_train", None), ("before_train_epoch", None), *around, ("after_train_epoch", None),
                     ("after_train", None)]  # fmt: skip
    assert loop.iter == 2 and loop.runner.model.training


def test_a_finished_run_trains_no_more():
    seen, calls, _ = iterate(start=6)
    assert seen == {} and [name for name, _ in calls] == ["before_train", "before_train_epoch", "after_train_epoch",
                                                          "after_train"]  # fmt: skip


def test_a_hook_can_stop_the_loop():
    assert list(iterate(stop_at=2)[0]) == [0, 1, 2]


class Regression(nn.Module):
    """A line through (index, draw of the image), one of mmengine's training steps."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def train_step(self, batch, optim_wrapper):
        x, y = (values.float()[:, None] for values in batch)
        with optim_wrapper.optim_context(self):
            loss = (self.line(x / SIZE) - y).square().mean()
        optim_wrapper.update_params(loss)
        return {"loss": loss}


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_the_passes_of_an_update_are_one_batch(passes):
    """Weights and losses are those of plain gradient descent on whole batches, however the passes divide them."""
    torch.manual_seed(0)
    model, losses = Regression(), []
    plain = [p.detach().clone().requires_grad_() for p in model.line.parameters()]
    data = Addressed(Numbers(), SEED)
    loader = DataLoader(data, BATCH // passes, sampler=AddressedSampler(data, SEED))
    wrapper = SteadyOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=passes)

    def call_hook(name, **arguments):
        if name == "after_train_iter":
            losses.append(float(arguments["outputs"]["loss"]))

    runner = SimpleNamespace(seed=SEED, model=model, optim_wrapper=wrapper, call_hook=call_hook)
    loop = AddressedLoop(runner, loader, max_iters=5, accumulation=passes)
    wrapper.initialize_count_status(model, 0, loop.max_iters)
    loop.run()
    assert loop.samples_done() == 5 * BATCH
    batches = iter(DataLoader(data, BATCH, sampler=AddressedSampler(data, SEED)))
    for found in losses:
        x, y = (values.float()[:, None] for values in next(batches))
        loss = (x / SIZE @ plain[0].T + plain[1] - y).square().mean()
        assert found == pytest.approx(float(loss), rel=1e-5)
        gradients = torch.autograd.grad(loss, plain)
        plain = [(p - 0.1 * g).detach().requires_grad_() for p, g in zip(plain, gradients, strict=True)]
    for ours, theirs in zip(model.line.parameters(), plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
