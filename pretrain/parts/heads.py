"""Projection heads on top of encoders, how linear layers start, and the centre of a teacher's scores."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from pretrain.parts.losses import SumOverProcesses


def xavier_linears(model: nn.Module) -> None:
    """Draw the weights of all linear layers by Xavier's uniform rule; their biases are zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Quantizer(nn.Module):
    """iBOT's head: features -> scores of soft code words.

    Linear, GELU, Linear, GELU, Linear to a bottleneck, L2 normalisation, then the cosine with K prototypes (a
    weight-normalised linear layer whose gain is frozen at 1). torch's fused weight norm takes a third of the time of
    F.normalize over 65,536 prototypes.

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
        self.last = weight_norm(nn.Linear(bottleneck, codes, bias=False))
        rows = self.last.parametrizations.weight
        del rows.original0  # the gain: a constant, neither trained nor stored
        rows.register_buffer("original0", torch.ones(codes, 1), persistent=False)
        self.register_load_state_dict_pre_hook(name_of_old_states)

    @property
    def prototypes(self) -> nn.Parameter:
        """The K prototypes [K, bottleneck] as they are trained, of any length."""
        return self.last.parametrizations.weight.original1

    def forward(self, x: Tensor) -> Tensor:
        """Features [..., width] -> scores [..., K] in [-1, 1]."""
        return self.last(F.normalize(self.mlp(x), dim=-1))


def name_of_old_states(head: Quantizer, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """States of 0.2.0 and before say `prototypes`."""
    if (old := state.pop(f"{prefix}prototypes", None)) is not None:
        state[f"{prefix}last.parametrizations.weight.original1"] = old


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


class GlobalBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d over the batch of all processes, on every device (torch's SyncBatchNorm does not run on CPUs).

    Processes must hold equally many rows.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C] -> the same shape."""
        if not self.training or get_world_size() == 1:
            return super().forward(x)
        rows = len(x) * get_world_size()
        x32 = x.float()
        mean = SumOverProcesses.apply(x32.sum(dim=0)) / rows
        centred = x32 - mean
        variance = SumOverProcesses.apply(centred.square().sum(dim=0)) / rows
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (rows / (rows - 1)), self.momentum)
        out = (centred * (variance + self.eps).rsqrt()).to(x.dtype)
        return out if self.weight is None else out * self.weight + self.bias


def mlp(sizes: list[int], last_norm: bool = False, last_affine: bool = False, bias: bool = False) -> nn.Sequential:
    """Linear, BatchNorm, ReLU for each size but the last, which is linear with or without a BatchNorm (no ReLU).

    Args:
        sizes: widths from input to output.
        last_norm: whether a BatchNorm ends it; last_affine: whether that one has gain and offset.
        bias: of the linear layers.
    """
    layers: list[nn.Module] = []
    for step, (width, following) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), start=1):
        layers.append(nn.Linear(width, following, bias=bias))
        if step < len(sizes) - 1:
            layers += [GlobalBatchNorm(following), nn.ReLU(inplace=True)]
        elif last_norm:
            layers.append(GlobalBatchNorm(following, affine=last_affine))
    return nn.Sequential(*layers)
