"""Masks, and a ViT on visible tokens only."""

import math

import pytest
import torch

from backbones import build_encoder
from engine.errors import UserError
from pretrain.parts.masking import random_mask, take, with_mask_tokens
from pretrain.parts.visible_tokens import embed_tokens, encode_visible, require_droppable, run_blocks, sincos_positions
from tests.pretrain.samples import ENCODER


def test_counts_and_partition():
    torch.manual_seed(0)
    mask = random_mask(5, 196, 0.75, torch.device("cpu"))
    assert mask.keep.shape == (5, 49) and mask.hidden.shape == (5, 147)
    everything = torch.cat([mask.keep, mask.hidden], dim=1).sort(dim=1).values
    assert torch.equal(everything, torch.arange(196).expand(5, -1))
    assert not torch.equal(mask.keep[0].sort().values, mask.keep[1].sort().values)


def test_every_patch_is_hidden_equally_often():
    torch.manual_seed(0)
    mask = random_mask(4000, 16, 0.75, torch.device("cpu"))
    share = torch.bincount(mask.hidden.flatten(), minlength=16) / 4000
    assert (share - 0.75).abs().max() < 0.03


def test_fill_puts_tokens_back():
    torch.manual_seed(0)
    tokens, token = torch.randn(3, 16, 4), torch.full((1, 1, 4), 9.0)
    mask = random_mask(3, 16, 0.5, torch.device("cpu"))
    filled = with_mask_tokens(take(tokens, mask.keep), token, mask)
    for b in range(3):
        for n in range(16):
            expected = tokens[b, n] if n in mask.keep[b].tolist() else token[0, 0]
            assert torch.equal(filled[b, n], expected)


@pytest.mark.parametrize("kwargs", [{}, {"reg_tokens": 2}, {"no_embed_class": True}, {"pre_norm": True}])
def test_all_tokens_visible_equals_timm(kwargs):
    torch.manual_seed(0)
    encoder = build_encoder(ENCODER["name"], {**ENCODER["kwargs"], **kwargs}).eval()
    for size in (32, 48):  # the encoder's own size, and one that resizes its positions
        images = torch.randn(2, 3, size, size)
        found = run_blocks(encoder, *embed_tokens(encoder, images))
        torch.testing.assert_close(found, encoder.forward_features(images))


def test_hidden_patches_do_not_reach_the_encoder():
    torch.manual_seed(0)
    encoder = build_encoder(**ENCODER).eval()
    images = torch.randn(1, 3, 32, 32)
    keep = torch.tensor([[0, 5, 10]])
    changed = images.clone()
    changed[:, :, 8:16, 16:24] = 7.0  # patch 1 * 4 + 2 = 6, hidden
    assert torch.equal(encode_visible(encoder, images, keep), encode_visible(encoder, changed, keep))
    changed[:, :, 8:16, 8:16] = 7.0  # patch 5, visible
    assert not torch.equal(encode_visible(encoder, images, keep), encode_visible(encoder, changed, keep))


@pytest.mark.parametrize("first", ["column", "row"])
def test_sincos_positions_by_loops(first):
    found = sincos_positions(8, (2, 3)) if first == "column" else sincos_positions(8, (2, 3), first)
    for row in range(2):
        for column in range(3):
            expected = []
            for t in (column, row) if first == "column" else (row, column):
                angles = [t / 10000 ** (k / 2) for k in range(2)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert found[0, row * 3 + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_encoder_without_tokens_is_refused_by_name():
    with pytest.raises(UserError, match="resnet18.*vit_base_patch16_224"):
        require_droppable(build_encoder("resnet18"), "resnet18")
