"""How the blocks of an encoder are computed: activations made again for the gradient, compiled, channels last.

What they compute, and what their parameters are called, stays the same. Blocks are what an encoder repeats: whoever
drives them by hand, as masked modelling does, calls them as the encoder itself does, so both ways are the block's own.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from backbones.layers import block_names
from engine.errors import UserError

BACKEND = "inductor"  # torch.compile's own default
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # timm's are subclasses


def encoder_of(model: nn.Module) -> nn.Module:
    """The timm encoder that a model trains: a pretraining method's own, or that of a task's adapter."""
    return getattr(model, "backbone", model).encoder


def blocks_of(encoder: nn.Module) -> list[nn.Module]:
    """The blocks of a timm encoder, in order. UserError where it tells none."""
    blocks = [encoder.get_submodule(name) for name in block_names(encoder)]
    if not blocks:
        raise UserError(
            f"{type(encoder).__name__} does not tell its blocks, which --activation-checkpointing, --compile and "
            "--channels-last are about: leave these out, or choose another encoder"
        )
    return blocks


class Recomputed:
    """Comes before a block's own class: in training it keeps its inputs alone, and is run again for its gradient.

    Dropout and stochastic depth draw the same again.
    """

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """As the block's own."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(*inputs, **named)
        return checkpoint(super().forward, *inputs, use_reentrant=False, **named)


class RecomputedOnce:
    """As `Recomputed`, of a block with batch normalisation, whose statistics the second run leaves alone."""

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """As the block's own."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(*inputs, **named)
        contexts = functools.partial(contexts_of_runs, self)
        return checkpoint(super().forward, *inputs, use_reentrant=False, context_fn=contexts, **named)


def contexts_of_runs(block: nn.Module) -> tuple[contextlib.AbstractContextManager, contextlib.AbstractContextManager]:
    """What surrounds a block's first run, and the second."""
    return contextlib.nullcontext(), settled_statistics(block)


def recompute_blocks(encoder: nn.Module) -> None:
    """Let the blocks of an encoder keep no activations (Chen et al. 2016). UserError as `blocks_of`."""
    for block in blocks_of(encoder):
        own = type(block)
        kind = RecomputedOnce if any(isinstance(part, NORMS) for part in block.modules()) else Recomputed
        # Another class, not another forward: copies of the block (a teacher's) then run their own weights.
        block.__class__ = type(own.__name__, (kind, own), {"__module__": own.__module__})


@contextlib.contextmanager
def settled_statistics(block: nn.Module) -> Iterator[None]:
    """Batch normalisation as in training, but that its statistics stay as they are."""
    norms = [norm for norm in block.modules() if isinstance(norm, NORMS) and norm.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def compile_blocks(encoder: nn.Module) -> None:
    """Compile the blocks of an encoder one by one, which share their code and keep the names of their parameters.

    Raises:
        UserError: as `blocks_of`, no compiler works here, or blocks with batch normalisation that are run again.
    """
    blocks = blocks_of(encoder)
    if any(isinstance(block, RecomputedOnce) for block in blocks):
        raise UserError(
            "--compile and --activation-checkpointing do not go together where blocks hold batch normalisation, whose "
            "statistics would be counted twice: leave one of them out"
        )
    device = next(encoder.parameters()).device
    try:
        torch.compile(torch.sin, backend=BACKEND)(torch.ones(2, device=device))
    except Exception as error:  # whatever a compiler that is missing or broken raises
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"--compile: torch.compile does not work here ({type(error).__name__}: {why}): install a C++ compiler "
            "(g++), for a GPU Triton too, or leave --compile out"
        ) from error
    for block in blocks:
        block.compile(backend=BACKEND)


def put_channels_last(model: nn.Module) -> None:
    """Keep the convolutions of a model with their channels last; what they give is laid out so too.

    Raises:
        UserError: an encoder without convolutions in its blocks, whose tokens have their channels last anyway.
    """
    encoder = encoder_of(model)
    if not any(isinstance(part, nn.Conv2d) for block in blocks_of(encoder) for part in block.modules()):
        raise UserError(
            f"--channels-last: the blocks of {type(encoder).__name__} hold no convolutions, so it has nothing to gain: "
            "leave it out"
        )
    model.to(memory_format=torch.channels_last)
