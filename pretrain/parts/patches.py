"""Images as rows of patches, and MAE's normalisation of them."""

from torch import Tensor


def patchify(images: Tensor, patch: int) -> Tensor:
    """Images [B, 3, h * p, w * p] -> patches [B, h * w, p * p * 3], pixel order (row, column, channel)."""
    b, c, height, width = images.shape
    h, w = height // patch, width // patch
    x = images.reshape(b, c, h, patch, w, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(b, h * w, patch * patch * c)  # [b, h, w, p, p, c] -> [b, hw, ppc]


def normalise_patches(patches: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-6) over the last axis, with the unbiased variance."""
    centred = patches - patches.mean(dim=-1, keepdim=True)
    variance = centred.square().sum(dim=-1, keepdim=True) / (patches.shape[-1] - 1)  # unbiased, as published
    return centred * (variance + 1e-6).rsqrt()
