"""Every family of timm's architectures keeps an adapter's contract, or is refused in one sentence.

One small member a family, on the meta device: shapes, gradients and operations without arithmetic.
"""

import itertools
import math
import re
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from backbones import HierarchicalPyramid, ViTPyramid, build_encoder, encoder_flops, pyramid
from backbones.ledger import Ledger
from benchmarks.families import FAMILIES, facts, row
from engine.errors import UserError

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "encoders.md").read_text()
HEIGHT, WIDTH = 203, 333  # no multiple of anything that an encoder might ask for
# Blocks by the papers and by timm's tables of depths: MViTv2-T (Li et al. 2022), PVTv2-B0 (Wang et al. 2022),
# PoolFormer-S12 (Yu et al. 2022), Swin-T, DaViT-T as pairs of blocks, ViT, ViTamin-S, XCiT-N12, ConvMixer-768/32.
BLOCKS = {"mvitv2": 10, "pvt_v2": 8, "metaformer": 12, "swin_transformer": 12, "swin_transformer_v2": 12, "davit": 6,
          "eva": 12, "vision_transformer_sam": 12, "naflexvit": 12, "vitamin": 14, "xcit": 12, "convmixer": 32,
          "qwen3_vit": 12, "twins": 18, "nextvit": 20}  # fmt: skip
# Blocks that share a layer: HRNet's of parallel branches, at the same depth; DaViT's of a pair; what FastViT calls a
# block in its downsampling, which goes with the block after it.
SHARED = {"hrnet", "davit", "fastvit"}


def adapter_of(name, plain, monkeypatch):
    """The adapter with weights on the meta device in the place of a checkpoint's."""
    meta = {"encoder": {"name": name, "kwargs": {}}}
    empty = Ledger((), {}, {}, {}, {})
    monkeypatch.setattr(pyramid, "load_encoder", lambda _, **overrides: (build_encoder(name, overrides), meta, empty))
    with torch.device("meta"):
        return (ViTPyramid if plain else HierarchicalPyramid)("no folder").train()


def blocks_of(module, prefix=""):
    """Outermost modules in a chain whose class is called a block, by name."""
    found = []
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        chained = isinstance(module, nn.Sequential | nn.ModuleList) and type(child).__name__.endswith("Block")
        found += [path] if chained else blocks_of(child, f"{path}.")
    return found


def test_no_family_is_left_out():
    assert set(FAMILIES) == set(timm.list_modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_right_or_refused(family, monkeypatch):
    assert f"| {' | '.join(row(family))} |" in DOCUMENT
    name = FAMILIES[family]
    assert timm.models.is_model_in_modules(name, {family})
    found = facts(name)
    if isinstance(found, UserError):
        assert name in str(found) and len(str(found)) < 300
        assert not re.search(r"\n|[.!?] [A-Z]", str(found)), "one sentence"
        return
    adapter = adapter_of(name, found.plain, monkeypatch)
    maps = adapter(torch.zeros(2, 3, HEIGHT, WIDTH, device="meta"))
    for cells, stride, channels in zip(maps, adapter.out_strides, adapter.out_channels, strict=True):
        assert cells.shape == (2, channels, math.ceil(HEIGHT / stride), math.ceil(WIDTH / stride))
    assert [b / a for a, b in itertools.pairwise(adapter.out_strides)] == [2, 2, 2]
    sum(cells.sum() for cells in maps).backward()
    assert [key for key, parameter in adapter.named_parameters() if parameter.grad is None] == []
    check_layers(family, adapter)
    assert encoder_flops({"name": name, "kwargs": {}}, (HEIGHT, WIDTH)) > 0


def check_layers(family, adapter):
    """Each parameter has a layer, layers have no gap, and no two blocks after the stem share one."""
    ids, last = adapter.layer_ids()
    assert set(ids) == {key for key, _ in adapter.named_parameters()}
    used = sorted(set(ids.values()))
    assert used == list(range(len(used))) and last - 1 <= used[-1] <= last
    owners = {}
    for block in () if family in SHARED else blocks_of(adapter.encoder, "encoder."):
        for layer in {group for key, group in ids.items() if key.startswith(f"{block}.")} - {0}:
            assert owners.setdefault(layer, block) == block
    if family in BLOCKS:
        assert last - 1 == BLOCKS[family]
