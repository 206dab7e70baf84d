"""Two processes train as one does, in every task: the same gradients at every update, whatever is switched on.

One process with four passes an update is held against two with two passes each, which also compute activations again.
Each pass sees the same images under the same random state in both, so that crops, masks, dropout, stochastic depth,
sampled boxes, batch normalisation and means over whatever number of boxes are all compared.
"""

import gc
import os
from collections.abc import Iterator

import pytest
import torch

import study.run
from engine import loop
from engine.optim import SteadyOptimWrapper
from engine.order import AddressedSampler
from study.local import import_everything
from tests.engine.processes import forked
from tests.engine.ranks import ended, on_ranks

UPDATES, PASSES, RANKS, IMAGES = 2, 2, 2, 2  # IMAGES: of a pass of a process
CONFIGS = [
    "pretrain/configs/mae.py", "seg_configs/upernet.py", "det_configs/mask_rcnn.py", "depth/configs/depth.py",
    "recognition/configs/finetune.py",
]  # fmt: skip


def train(cfg, file) -> None:
    """Run a configuration up to its test; leave the gradients of each update in `file`, of the first process."""
    gc.freeze()  # else each data set's collection looks at all that the test process ever imported
    updates, step = [], SteadyOptimWrapper.step

    def noted(wrapper, **kwargs):
        groups = wrapper.optimizer.param_groups
        updates.append([p.grad.clone() for group in groups for p in group["params"] if p.grad is not None])
        step(wrapper, **kwargs)

    SteadyOptimWrapper.step = noted
    study.run.evaluate = lambda *_: None
    study.run.run(cfg(), "test")
    if os.environ.get("RANK", "0") == "0":
        torch.save(updates, file)


def as_ranks_share(addresses: Iterator[int]) -> Iterator[int]:
    """The addresses that processes get in turns, in an order in which one process's passes are those of the ranks."""
    while True:
        both = [next(addresses) for _ in range(RANKS * IMAGES)]
        for rank in range(RANKS):
            yield from both[rank::RANKS]


def alone(cfg, file) -> None:
    """Train in one process whose passes are the ranks' passes: 0 of rank 0, 0 of rank 1, 1 of rank 0, ..."""
    in_turns, seed = AddressedSampler.__iter__, loop.seed_everywhere
    AddressedSampler.__iter__ = lambda sampler: as_ranks_share(in_turns(sampler))

    def as_rank(run, iteration, _rank, number=0):
        again, rank = divmod(number, RANKS)
        seed(run, iteration, rank, *([again] if again else []))

    loop.seed_everywhere = as_rank
    train(cfg, file)


@pytest.mark.parametrize("config", CONFIGS)
def test_two_processes_make_the_updates_of_one(configure, checkpoint, tmp_path, config):
    import_everything()  # once, before the forks
    encoder = {} if config.startswith("pretrain") else {"checkpoint": str(checkpoint("mae"))}
    options = {"optim_wrapper.optimizer.lr": 1e-5} | ({"drop_path_rate": 0.3} if encoder else {})

    def cfg(folder, passes, launcher="none", **switches):
        shared = {"global_batch_size": RANKS * PASSES * IMAGES, "accumulation": passes}
        return configure(config, UPDATES, tmp_path / folder, options=options | shared | switches, launcher=launcher,
                         **encoder)  # fmt: skip

    def switched(_rank):
        train(lambda: cfg("two", PASSES, "pytorch", recompute_blocks=True), tmp_path / "two.pt")

    children = [*on_ranks(switched), forked(lambda: alone(lambda: cfg("one", RANKS * PASSES), tmp_path / "one.pt"))]
    assert ended(children) == [0, 0, 0]
    one, two = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "two"))
    assert len(one) == len(two) == UPDATES
    for ours, theirs in zip(one, two, strict=True):
        largest = max(float(gradient.norm()) for gradient in ours)
        for a, b in zip(ours, theirs, strict=True):
            assert float((a - b).norm()) <= 1e-4 * float(a.norm()) + 1e-6 * largest, a.shape
    assert not all(torch.equal(a, b) for a, b in zip(*one, strict=True)), "the second update is another"
