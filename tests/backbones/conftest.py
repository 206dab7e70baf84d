"""Small checkpoints for the tests of this room."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from backbones import build_encoder, save_checkpoint

TINY = {
    "name": "vit_tiny_patch16_224",
    "kwargs": {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 4, "num_heads": 3},
}


def meta_of(encoder: dict) -> dict:
    return {
        "method": "mae",
        "captions": None,
        "seed": 0,
        "scale": "tiny",
        "encoder": encoder,
        "image": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "size": 64},
        "data": {"name": "scenes", "samples": 8192},
        "samples_seen": 640,
        "updates": 10,
        "config_hash": "abc",
        "code_version": "0.1.0",
        "parent": None,
        "ledger": None,
        "cost": {"wall_s": 1.5, "samples_per_s": 400.0, "peak_memory_mib": None, "hardware": {"device": "cpu"}},
        "text": None,
    }


def random_encoder(name: str, kwargs: dict, seed: int = 0) -> torch.nn.Module:
    """An encoder whose every parameter and running statistic is random, so that no two tensors can be mistaken."""
    encoder = build_encoder(name, kwargs)
    generator = torch.Generator().manual_seed(seed)
    for key, value in encoder.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            value.add_(0.02 * noise.abs() if "running_var" in key else 0.02 * noise)
    return encoder


@pytest.fixture
def tiny() -> dict:
    """The encoder of scale tiny."""
    return copy.deepcopy(TINY)


@pytest.fixture(scope="session")
def make_meta() -> Callable:
    """make_meta(encoder) -> meta data for save_checkpoint."""
    return meta_of


@pytest.fixture(scope="session")
def randomised() -> Callable:
    """randomised(name, kwargs, seed=0) -> encoder without a regular tensor."""
    return random_encoder


@pytest.fixture
def write(tmp_path: Path) -> Callable:
    """write(encoder=TINY, folder="checkpoint", seed=0) -> (folder, encoder)."""

    def make(encoder: dict = TINY, folder: str = "checkpoint", seed: int = 0) -> tuple[Path, torch.nn.Module]:
        module = random_encoder(encoder["name"], encoder["kwargs"], seed)
        save_checkpoint(tmp_path / folder, module, meta_of(encoder))
        return tmp_path / folder, module

    return make
