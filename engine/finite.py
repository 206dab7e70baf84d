"""Numbers that are not finite: seen on the device at every step, read at intervals and before each write."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

NAMED = 3  # tensors written out in a refusal; the rest is counted


class FirstFault:
    """The first iteration with a loss or gradient norm that is not finite, kept on the device.

    Attributes:
        at: int64 scalar on the losses' device, 0 while all were finite; None before the first iteration.
    """

    def __init__(self) -> None:
        self.at: Tensor | None = None

    def note(self, iteration: int, values: Iterable[Any]) -> None:
        """Look at an iteration's values, tensors of one element each; the host does not wait for them."""
        bad = [~value.detach().isfinite().all() for value in values if isinstance(value, Tensor)]
        if not bad:
            return
        if self.at is None:
            self.at = torch.zeros((), dtype=torch.int64, device=bad[0].device)
        fault = torch.stack(bad).any() & (self.at == 0)
        self.at = torch.where(fault, iteration, self.at)

    def read(self) -> int:
        """The first faulty iteration of any process, 0 if there was none. All processes ask together."""
        mine = self.at.clone() if self.at is not None else torch.zeros((), dtype=torch.int64)
        mine = torch.where(mine == 0, torch.iinfo(torch.int64).max, mine)
        all_reduce(mine, op="min")
        found = int(mine)
        return 0 if found == torch.iinfo(torch.int64).max else found


def faults(tensors: Mapping[str, Tensor], order: float = 2.0) -> list[str]:
    """Names of floating-point tensors with an element that is not finite, or whose norm float32 cannot hold.

    Args:
        tensors: by name, on any devices.
        order: of the norm. The second is beyond float32 from 1.8e19 on, where no forward pass is finite any more;
            infinity asks only for finite elements.
    """
    by_device: dict[torch.device, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            norm = torch.linalg.vector_norm(tensor.detach(), order, dtype=torch.float32)
            by_device.setdefault(tensor.device, {})[name] = norm
    found = []
    for norms in by_device.values():  # one wait for each device
        found += [name for name, norm in zip(norms, torch.stack([*norms.values()]).tolist(), strict=True)
                  if not math.isfinite(norm)]  # fmt: skip
    return found


def optimizer_tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of an optimizer's `state_dict()` by name: step counts and moments."""
    return {
        f"{name} of parameter {index}": value
        for index, entry in state["state"].items()
        for name, value in entry.items()
        if isinstance(value, Tensor)
    }


def state_faults(state: Mapping[str, Any]) -> list[str]:
    """As `faults`, for a run's state: the model's tensors and the optimizer's."""
    return faults(state["model"]) + faults(optimizer_tensors(state["optimizer"]), math.inf)


def listed(names: list[str]) -> str:
    """The first names and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
