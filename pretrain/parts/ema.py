"""A teacher: the exponential moving average of a module, outside every gradient."""

import copy
import math
from typing import Literal

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EmaTeacher(nn.Module):
    """theta_teacher <- m theta_teacher + (1 - m) theta_student after each step; starts as an exact copy.

    Args:
        student: the module to follow; its structure must not change.
        momentum: (start, end) of m over training.
        curve: how m goes from start to end: "linear", or "cosine" (half a period: MoCo v3, DINO).
        batch_norm: "student" copies the student's statistics; "own" lets the teacher's BatchNorms normalise by their
            own batch and keep their own statistics (MoCo v3).
    """

    def __init__(
        self,
        student: nn.Module,
        momentum: tuple[float, float],
        curve: Literal["linear", "cosine"] = "linear",
        batch_norm: Literal["student", "own"] = "student",
    ) -> None:
        super().__init__()
        self.momentum, self.curve, self.batch_norm = tuple(momentum), curve, batch_norm
        self.module = copy.deepcopy(student).requires_grad_(False)
        self.train()

    @torch.no_grad()
    def update(self, student: nn.Module, progress: float) -> None:
        """Move towards `student`; progress in [0, 1] sets m between its start and end."""
        start, end = self.momentum
        if self.curve == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        average = get_ema_multi_avg_fn(start + (end - start) * progress)  # one foreach call for all parameters
        average(list(self.module.parameters()), list(student.parameters()), 0)
        if self.batch_norm == "student":
            for own, other in zip(self.module.buffers(), student.buffers(), strict=True):
                own.copy_(other)

    def train(self, mode: bool = True) -> "EmaTeacher":
        """Stay in evaluation mode, since the target has no dropout; BatchNorms with statistics of their own follow."""
        super().train(False)
        if self.batch_norm == "own":
            for module in self.module.modules():
                if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                    module.train(mode)
        return self
