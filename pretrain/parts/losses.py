"""Losses shared by several methods, and the gathering of features across processes."""

import math

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor, nn

MAX_LOGIT_SCALE = math.log(100)


class GatherWithGradient(torch.autograd.Function):
    """All processes' rows, stacked by rank; the gradient of a row is summed over the processes that used it."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: Tensor) -> Tensor:
        """rows [B, D] -> [world * B, D]."""
        ctx.batch = rows.shape[0]
        return torch.cat(all_gather(rows.contiguous()))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        """grad [world * B, D] -> this process's [B, D]."""
        grad = grad.contiguous()
        all_reduce(grad, op="sum")
        return grad[get_rank() * ctx.batch :][: ctx.batch]


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient, since each process's loss depends on the sum."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor) -> Tensor:
        """Any shape, equal on all processes."""
        total = value.clone()
        all_reduce(total, op="sum")
        return total

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        """The sum of all processes' gradients."""
        total = grad.contiguous().clone()
        all_reduce(total, op="sum")
        return total


def gather(rows: Tensor) -> Tensor:
    """Stack `rows` [B, D] of all processes to [world * B, D] with gradients; unchanged on a single process."""
    return rows if get_world_size() == 1 else GatherWithGradient.apply(rows)


def new_logit_scale() -> nn.Parameter:
    """The logarithm of the inverse temperature, at CLIP's start ln(1 / 0.07)."""
    return nn.Parameter(torch.tensor(math.log(1 / 0.07)))


@torch.no_grad()
def clamp_logit_scale(logit_scale: Tensor) -> None:
    """Keep exp(logit_scale) within [1, 100], in place (SLIP clamps the logarithm to [0, ln 100] after every step)."""
    logit_scale.clamp_(0, MAX_LOGIT_SCALE)


def contrastive_losses(image: Tensor, text: Tensor, logit_scale: Tensor) -> tuple[Tensor, Tensor]:
    """CLIP's two directions (image -> text, text -> image) against all captions and images of the global batch.

    L_I = -1/B sum_i log softmax_j(<e^I_i, e^T_j> exp(s))_i, and L_T with the roles swapped (Radford et al. 2021).
    Each process scores its own rows against everyone's columns; the mean over processes is the loss of the global
    batch, and data-parallel averaging gives its gradients.

    Args:
        image, text: projected features [B, D], not yet normalised; row i of both belongs together.
        logit_scale: s, scalar.
    """
    # Similarities in float32 also under bf16 autocast: at exp(s) = 100 a bf16 logit is off by up to 0.25.
    with torch.autocast(image.device.type, enabled=False):
        image = F.normalize(image.float(), dim=-1)
        text = F.normalize(text.float(), dim=-1)
        scale = logit_scale.exp()
        target = torch.arange(len(image), device=image.device) + get_rank() * len(image)
        loss_image = F.cross_entropy(scale * image @ gather(text).T, target)  # [B, world * B]
        loss_text = F.cross_entropy(scale * text @ gather(image).T, target)
    return loss_image, loss_text
