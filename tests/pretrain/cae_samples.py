"""A small CAE, its tokenizer and batches for the tests."""

import math
from pathlib import Path

import torch

from pretrain.methods.cae import CAE
from pretrain.tokenizer.dvae import Encoder
from tests.pretrain.samples import ENCODER

SCALED = {**ENCODER, "kwargs": {**ENCODER["kwargs"], "init_values": 0.1}}
SMALL = {"num_masked": 6, "width": 24, "heads": 3, "regressor_depth": 2, "decoder_depth": 2}
CPU = torch.device("cpu")


def write_tokenizer(folder: Path) -> dict[str, str]:
    """A dVAE encoder with 11 tokens and random weights; the arguments that build its tokenizer."""
    torch.manual_seed(1)
    path = folder / "encoder.pth"
    torch.save(Encoder(vocabulary=11, width=8, depth=1).state_dict(), path)
    return {"type": "dvae", "file": str(path)}


def make_cae(tokenizer, seed=0, encoder=SCALED, **kwargs) -> CAE:
    """The small model."""
    torch.manual_seed(seed)
    return CAE(**{"encoder": encoder, "tokenizer": tokenizer, **SMALL, **kwargs})


def shaken(model):
    """The model with every parameter moved from its start, where many are 0, 1 or alike."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def a_batch(size=32, count=2):
    """Random pixels, and the same as a normalised image."""
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    return {"image": (pixels.float() / 255 - 0.45) / 0.22, "pixels": pixels}


def slow_positions(width, side=4):
    """By loops: the row's sines, the row's cosines, the column's sines, the column's cosines: [side^2, width]."""
    table = []
    for row in range(side):
        for column in range(side):
            angles = [[t / 10000 ** (k / (width / 4)) for k in range(width // 4)] for t in (row, column)]
            table.append([f(a) for axis in angles for f in (math.sin, math.cos) for a in axis])
    return torch.tensor(table, dtype=torch.float64)
