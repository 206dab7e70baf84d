"""A teacher: the exponential moving average of a module, outside every gradient."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EmaTeacher(nn.Module):
    """theta_teacher <- m theta_teacher + (1 - m) theta_student after each step; starts as an exact copy.

    Args:
        student: the module to follow; its structure must not change.
        momentum: (start, end) of m, which goes linearly with training.

    Buffers (BatchNorm statistics, counters) are copied from the student.
    """

    def __init__(self, student: nn.Module, momentum: tuple[float, float]) -> None:
        super().__init__()
        self.momentum = tuple(momentum)
        self.module = copy.deepcopy(student).requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def update(self, student: nn.Module, progress: float) -> None:
        """Move towards `student`; progress in [0, 1] sets m between its start and end."""
        start, end = self.momentum
        average = get_ema_multi_avg_fn(start + (end - start) * progress)  # one foreach call for all parameters
        average(list(self.module.parameters()), list(student.parameters()), 0)
        for own, other in zip(self.module.buffers(), student.buffers(), strict=True):
            own.copy_(other)

    def train(self, mode: bool = True) -> "EmaTeacher":
        """Stay in evaluation mode: the target has no dropout."""
        return super().train(False)
