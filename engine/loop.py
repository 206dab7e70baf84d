"""The training loop: counted in iterations, seeded per iteration, resumed in the middle without replaying data."""

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from engine.seeding import seed_everywhere


@LOOPS.register_module()
class AddressedLoop(BaseLoop):
    """Train for `max_iters` iterations.

    Before each iteration the global random generators are seeded from (seed, iteration, rank): masks, dropout,
    stochastic depth and box sampling draw from there, so iteration i is the same whether or not the run was interrupted
    before it. Samples come in the order of `engine.order`, each under the random state of its address. A hook may move
    the cursor with `resume_at` during `before_train`.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, max_iters: int) -> None:
        if isinstance(dataloader, dict):
            dataloader = {**dataloader, "sampler": dict(type="AddressedSampler", seed=runner.seed)}
            dataloader["dataset"] = dict(type="Addressed", seed=runner.seed, dataset=dataloader["dataset"])
        super().__init__(runner, dataloader)
        self.max_iters = int(max_iters)
        self.max_epochs = 1  # mmengine's hooks and schedulers ask for it
        self.iter = 0
        self.epoch = 0
        self.stop_training = False

    def resume_at(self, iteration: int) -> None:
        """Continue as if `iteration` iterations had just been run."""
        self.iter = iteration

    def run(self) -> torch.nn.Module:
        """Run to `max_iters` and return the model."""
        runner = self.runner
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        if self.iter < self.max_iters:
            self.dataloader.sampler.start_at(self.iter * self.dataloader.batch_size * get_world_size())
            batches = iter(self.dataloader)
            runner.model.train()
            while self.iter < self.max_iters and not self.stop_training:
                self.run_iter(next(batches))
        runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")
        return runner.model

    def run_iter(self, data_batch: dict | list) -> None:
        """Run one iteration on one batch."""
        seed_everywhere(self.runner.seed, self.iter, get_rank())
        self.runner.call_hook("before_train_iter", batch_idx=self.iter, data_batch=data_batch)
        outputs = self.runner.model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)
        self.runner.call_hook("after_train_iter", batch_idx=self.iter, data_batch=data_batch, outputs=outputs)
        self.iter += 1
