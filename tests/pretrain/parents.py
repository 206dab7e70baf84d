"""Checkpoints that the tests of second stages start or learn from."""

from pathlib import Path

import torch

from backbones import build_encoder, save_checkpoint

TINY = {
    "name": "vit_tiny_patch16_224",
    "kwargs": {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 4, "num_heads": 3},
}


def write_parent(folder: Path, method: str = "mae", encoder: dict = TINY, seed: int = 0, **changes: object) -> Path:
    """A checkpoint folder of a random encoder, with image constants of its own."""
    torch.manual_seed(seed)
    meta = {
        "method": method, "captions": None, "seed": 0, "scale": "tiny", "encoder": encoder,
        "image": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": 64},
        "data": {"name": "scenes", "samples": 48}, "samples_seen": 640, "updates": 10, "config_hash": "abcdef01",
        "code_version": "0", "parent": None, "ledger": None, "text": None,
        "cost": {"wall_s": 1.5, "samples_per_s": 64.0, "peak_memory_mib": None, "hardware": None},
    } | changes  # fmt: skip
    module = build_encoder(**encoder)
    for parameter in module.parameters():  # norms and biases too, so that no two tensors can be mistaken
        parameter.data += 0.02 * torch.randn_like(parameter)
    save_checkpoint(folder, module, meta)
    return folder
