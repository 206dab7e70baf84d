"""Tensors on their way to the device: copied from pinned memory, while the host goes on."""

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """`tensor` on `device`; what it holds may be on its way still, and whoever computes there waits for it."""
    device = torch.device(device)
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
