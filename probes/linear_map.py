"""BatchNorm and a 1x1 convolution on frozen maps, trained by AdamW: what the linear probes of dense tasks share.

DINOv2's `BNHead` (facebookresearch/dinov2, eval/segmentation/models/decode_heads/linear_head.py): affine BatchNorm,
then a convolution with weights N(0, 0.01) and bias 0.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from engine.errors import UserError
from engine.order import AddressedSampler
from engine.seeding import seed_everywhere
from engine.transfer import moved
from probes.config import Linear
from probes.features import Rows

BLOCK = 16  # test images whose outputs are held at a time


class LinearMap(nn.Module):
    """BatchNorm over all places, then a linear map of each place's feature.

    Args:
        width: of the features. outputs: of each place.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.linear = nn.Conv2d(width, outputs, 1)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, width, h, w] -> [B, outputs, h, w]."""
        return self.linear(self.norm(maps))


def rate(step: int, steps: int, warm_up: int) -> float:
    """Share of the peak rate in a step counted from 0: a linear rise, then a linear fall to 0 after the last step."""
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return (steps - step) / (steps - warm_up)


def train(
    maps: Rows, targets: np.ndarray, outputs: int, loss_of: Callable[[Tensor, Tensor], Tensor], recipe: Linear,
    seed: int, device: torch.device,
) -> tuple[LinearMap, dict[str, Any], float]:  # fmt: skip
    """A new head after its training, what it was trained with, for the record, and images per second.

    Args:
        outputs: of each place. Others as of `fit`; a batch larger than the training set is one of all images.
    """
    recipe = replace(recipe, batch=min(recipe.batch, len(maps)))
    seed_everywhere(seed)
    head = LinearMap(maps.shape[0], outputs).to(device)
    pace = fit(head, maps, targets, loss_of, recipe, seed)
    settings = {
        "lr": recipe.lr,
        "iterations": recipe.iterations,
        "global_batch": recipe.batch,
        "train_images": len(maps),
    }
    return head, settings, pace


@torch.no_grad()
def outputs(head: LinearMap, maps: Rows) -> Iterator[Tensor]:
    """What a trained head gives for each image, [outputs, h, w] on its device."""
    device = next(head.parameters()).device
    head.eval()
    for block in maps.blocks(BLOCK):
        yield from head(moved(block, device))


def fit(
    head: LinearMap, maps: Rows, targets: np.ndarray, loss_of: Callable[[Tensor, Tensor], Tensor], recipe: Linear,
    seed: int,
) -> float:  # fmt: skip
    """Train a head in place; returns images per second.

    Args:
        head: on the device where it is trained.
        maps: of N images. targets: what `loss_of` compares their outputs [B, outputs, h, w] with, [N, ...].
        recipe: its batch is at most N, its warm_up below its iterations.
        seed: of the order of images.

    Raises:
        UserError: the loss is not finite.
    """
    device = next(head.parameters()).device
    optimizer = torch.optim.AdamW(head.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate(step, recipe.iterations, recipe.warm_up) if step < recipe.iterations else 0.0
    )
    order = (address % len(maps) for address in AddressedSampler(maps, seed))
    total = torch.zeros((), device=device)
    head.train()
    started = time.perf_counter()
    for _ in tqdm(range(recipe.iterations), desc="linear map", unit="step", leave=False, disable=None):
        chosen = list(islice(order, recipe.batch))
        loss = loss_of(head(moved(maps.take(chosen), device)), moved(torch.from_numpy(targets[chosen]), device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.detach()
    if not torch.isfinite(total):
        raise UserError(f"the probe's loss is not finite: lower probe.lr (now {recipe.lr})")
    return recipe.iterations * recipe.batch / (time.perf_counter() - started)
