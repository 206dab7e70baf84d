"""Projection heads on top of encoders, and the centre of a teacher's scores."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn


class Quantizer(nn.Module):
    """iBOT's head: features -> scores of soft code words.

    Linear, GELU, Linear, GELU, Linear to a bottleneck, L2 normalisation, then the cosine with K prototypes (a
    weight-normalised linear layer whose gain is frozen at 1).

    Args:
        width: of the features; hidden, bottleneck: of the layers; codes: K.
    """

    def __init__(self, width: int, hidden: int = 2048, bottleneck: int = 256, codes: int = 8192) -> None:
        super().__init__()
        self.codes = codes
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        for layer in self.mlp[::2]:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.empty(codes, bottleneck))
        nn.init.kaiming_uniform_(self.prototypes, a=5**0.5)  # nn.Linear's start

    def forward(self, x: Tensor) -> Tensor:
        """Features [..., width] -> scores [..., K] in [-1, 1]."""
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.prototypes, dim=-1))


class TeacherCentre(nn.Module):
    """A running mean of the teacher's scores, subtracted from them so that no code word wins everywhere (DINO).

    Args:
        codes: K; momentum: of the running mean.
    """

    def __init__(self, codes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(codes))

    @torch.no_grad()
    def update(self, scores: Tensor) -> None:
        """Move towards the mean of scores [..., K] over all processes."""
        mean = scores.flatten(0, -2).mean(dim=0)
        if get_world_size() > 1:
            all_reduce(mean, op="mean")
        self.value.lerp_(mean, 1 - self.momentum)
