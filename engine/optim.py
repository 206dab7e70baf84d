"""The optimizer wrapper: gradient norm, clipping, accumulation and bf16 autocast without waiting for the device."""

import contextlib
from collections.abc import Iterator

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class SteadyOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper, less one host synchronisation a step.

    The parent turns the gradient norm into a Python float for logging at every step, which makes the host wait for the
    device. Here the norm, with clipping or without, stays on the device in `self.grad_norm`; `engine.progress` reads it
    every few dozen steps and stops the run if it was not finite at any of them.

    With `accumulative_counts` n, n backward passes make one update. The loop counts updates, the parent passes.

    Args:
        amp: run the forward pass under bf16 autocast. bf16 keeps fp32's range, so no loss scaling is needed.

    Attributes:
        frozen: parameters that the coming step leaves untouched: no update, no decay, no moments.
        grad_norm: of all gradients of the last update, before clipping; a scalar on their device.
    """

    def __init__(self, *args: object, amp: bool = False, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.amp = amp
        self.grad_norm: torch.Tensor | None = None
        self.frozen: list[nn.Parameter] = []
        self.passes = kwargs.get("accumulative_counts", 1)  # in an update

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Start the parent's count of passes at an update of the loop."""
        super().initialize_count_status(model, init_counts * self.passes, max_counts * self.passes)

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of forward and backward: gradient accumulation of the parent, and autocast where asked."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16, enabled=self.amp):
            yield

    def step(self, **kwargs: object) -> None:
        """Measure the gradients, clip them where the config says so, then update."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.clip_grad_kwargs:
            self.grad_norm = nn.utils.clip_grad_norm_(parameters, **self.clip_grad_kwargs)
        else:
            self.grad_norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        for parameter in self.frozen:
            parameter.grad = None
        self.optimizer.step(**kwargs)
