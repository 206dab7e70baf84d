"""The training loop: counted in updates, seeded per update, resumed in the middle without replaying data."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from engine.distributed import share_buffers
from engine.errors import UserError
from engine.resume import resume_hook
from engine.seeding import seed_everywhere
from engine.stop import StopSignals


@LOOPS.register_module()
class AddressedLoop(BaseLoop):
    """Train for `max_iters` iterations, each of which is one update of the weights.

    Before each iteration the global random generators are seeded from (seed, iteration, rank): masks, dropout,
    stochastic depth and box sampling draw from there, so iteration i is the same whether or not the run was interrupted
    before it. Samples come in the order of `engine.order`, each under the random state of its address. A hook may move
    the cursor with `resume_at` during `before_train`.

    Args:
        max_iters: updates.
        accumulation: batches of the loader, one after the other, whose gradients make one update.
        repeats: how often each sample comes in a row, see `engine.order.AddressedSampler`.
        shuffle_window: samples over which an epoch is mixed, for sets too large to permute; None: over all.
        by_aspect: whether a batch holds images of one orientation, see `engine.grouping`; the data set needs `shapes`.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        max_iters: int,
        accumulation: int = 1,
        repeats: int = 1,
        shuffle_window: int | None = None,
        by_aspect: bool = False,
    ) -> None:
        if by_aspect and (repeats, shuffle_window) != (1, None):
            raise UserError("train_cfg.by_aspect goes with neither repeats nor shuffle_window: leave these out")
        if isinstance(dataloader, dict):
            sampler = dict(type="AddressedSampler", seed=runner.seed, repeats=repeats, window=shuffle_window)
            if by_aspect:
                sampler = dict(type="GroupedSampler", seed=runner.seed, group=dataloader["batch_size"])
            dataloader = {**dataloader, "sampler": sampler}
            dataloader["dataset"] = dict(type="Addressed", seed=runner.seed, dataset=dataloader["dataset"])
        super().__init__(runner, dataloader)
        self.max_iters = int(max_iters)
        self.accumulation = accumulation
        self.max_epochs = 1  # mmengine's hooks and schedulers ask for it
        self.iter = 0
        self.epoch = 0
        self.stop_training = False
        self.signals = StopSignals()

    def samples_done(self) -> int:
        """Training samples that all processes together have consumed."""
        return self.iter * self.dataloader.batch_size * self.accumulation * get_world_size()

    def resume_at(self, iteration: int) -> None:
        """Continue as if `iteration` iterations had just been run."""
        self.iter = iteration

    def run(self) -> torch.nn.Module:
        """Run to `max_iters` and return the model."""
        runner = self.runner
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        if self.iter < self.max_iters:
            self.dataloader.sampler.start_at(self.samples_done())
            runner.model.train()
            with self.signals:
                batches = iter(self.dataloader)
                while self.iter < self.max_iters and not self.stop_training:
                    self.run_iter(self.fetch(batches))
        share_buffers(runner.model)
        runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")
        return runner.model

    def fetch(self, batches: Iterator[Any]) -> list[Any]:
        """The batches of the next update."""
        try:
            return [next(batches) for _ in range(self.accumulation)]
        except RuntimeError:
            # A signal to the whole process group ends the loader's workers too, whose batch never comes.
            if not self.signals.wanted or get_world_size() > 1:
                raise
            resume_hook(self.runner).stop(self.runner, self.iter, self.signals.wanted)

    def run_iter(self, data_batches: list[Any]) -> None:
        """Run one iteration on the batches of one update."""
        address = self.runner.seed, self.iter, get_rank()
        self.runner.call_hook("before_train_iter", batch_idx=self.iter, data_batch=data_batches[0])
        outputs: dict[str, Any] = {}
        for number, data_batch in enumerate(data_batches):
            seed_everywhere(*address, *([number] if number else []))  # the first is seeded as a whole batch is
            found = self.runner.model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)
            for name, value in found.items():
                part = value.detach() if isinstance(value, torch.Tensor) else value
                outputs[name] = part / len(data_batches) + outputs.get(name, 0)
        self.runner.call_hook("after_train_iter", batch_idx=self.iter, data_batch=data_batches[0], outputs=outputs)
        self.iter += 1
