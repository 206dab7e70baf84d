"""Relative position bias from zero: nothing changes at the start, then attention by hand, at any grid, in its group."""

import pytest
import torch

from backbones import ViTPyramid, build_encoder, layer_decay_groups
from backbones.added_bias import REASON, BiasedAttention, add_relative_bias
from backbones.ledger import Ledger
from backbones.positions import resize_positions
from backbones.relative_positions import TABLE, At, resize_table
from engine.errors import UserError

SIZE = (64, 96)  # the fine-tuning images: a grid of 8 x 12 patches


def pyramid(folder, **kwargs):
    torch.manual_seed(0)  # equal deconvolutions
    return ViTPyramid(str(folder), **kwargs).eval()


def scatter_tables(model):
    """Non-zero tables, no two entries equal."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for block in model.encoder.blocks:
            table = block.attn.relative_position_bias_table
            table.copy_(torch.randn(table.shape, generator=generator))
    return model


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (40, 72)])
@pytest.mark.parametrize("final_norm", [False, True])
def test_at_zero_the_features_are_those_without(write, size, final_norm):
    folder, _ = write()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        without = pyramid(folder, final_norm=final_norm)(x)
        added = pyramid(folder, final_norm=final_norm, relative_bias=SIZE)
        for one, other in zip(added(x), without, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        moved = scatter_tables(added)(x)
    assert all((one - other).abs().max() > 1e-3 for one, other in zip(moved, without, strict=True))


def bias_by_loops(table, grid, has_class):
    """[heads, N, N] from a table of that grid; the last three rows are class to patch, patch to class, itself."""
    rows, columns = grid
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    tokens = ([None] if has_class else []) + cells
    bias = torch.zeros(table.shape[1], len(tokens), len(tokens), dtype=table.dtype)
    for i, one in enumerate(tokens):
        for j, other in enumerate(tokens):
            if one is None or other is None:
                row = -1 if one is other else (-3 if one is None else -2)
            else:
                row = (one[0] - other[0] + rows - 1) * (2 * columns - 1) + one[1] - other[1] + columns - 1
            bias[:, i, j] = table[row]
    return bias


def attention_by_hand(attention, x, bias):
    """softmax(q k / sqrt(d / heads) + bias) v, image by image and head by head."""
    heads, width = attention.num_heads, x.shape[-1]
    head_width = width // heads
    qkv = x @ attention.qkv.weight.T + attention.qkv.bias
    out = torch.zeros_like(x)
    for image in range(len(x)):
        for head in range(heads):
            part = slice(head * head_width, (head + 1) * head_width)
            q, k, v = (qkv[image][:, n * width : (n + 1) * width][:, part] for n in range(3))
            out[image][:, part] = torch.softmax(q @ k.T / head_width**0.5 + bias[head], dim=-1) @ v
    return out @ attention.proj.weight.T + attention.proj.bias


@pytest.mark.parametrize("size", [SIZE, (96, 64), (40, 72)])
def test_whole_encoder_by_hand_in_float64(write, size):
    """Every block with the bias of its own table, at the tables' grid and at two others, none square."""
    folder, _ = write()
    model = scatter_tables(pyramid(folder, pyramid=False, relative_bias=SIZE)).double()
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    encoder, grid = model.encoder, (size[0] // 8, size[1] // 8)
    with torch.no_grad():
        found = model(image)[-1]
        x = torch.nn.functional.conv2d(image, encoder.patch_embed.proj.weight, encoder.patch_embed.proj.bias, stride=8)
        x = torch.cat([encoder.cls_token.expand(2, -1, -1), x.flatten(2).mT], dim=1)
        x = x + resize_positions(encoder.pos_embed, grid, (8, 8), 1)
        for block in encoder.blocks:
            table = resize_table(block.attn.relative_position_bias_table, grid, (8, 12))
            x = x + attention_by_hand(block.attn, block.norm1(x), bias_by_loops(table, grid, has_class=True))
            x = x + block.mlp(block.norm2(x))
    torch.testing.assert_close(found, x[:, 1:].mT.unflatten(2, grid), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_without_a_class_token_and_with_either_kernel(fused):
    encoder = build_encoder("vit_tiny_patch16_224", dict(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2,
                                                         class_token=False, global_pool="avg"))  # fmt: skip
    add_relative_bias(encoder, Ledger((), {}, {}, {}, {}), (24, 40))
    attention = encoder.blocks[0].attn.double()
    attention.fused_attn = fused
    torch.nn.init.normal_(attention.relative_position_bias_table)
    x = torch.randn(1, 15, 24, dtype=torch.float64)
    expected = attention_by_hand(attention, x, bias_by_loops(attention.relative_position_bias_table, (3, 5), False))
    torch.testing.assert_close(attention(x, attn_mask=At((3, 5), None)), expected)


def test_groups_weight_decay_and_training(write):
    folder, _ = write()
    model = pyramid(folder, relative_bias=SIZE).train()
    groups = layer_decay_groups(torch.nn.ModuleDict({"backbone": model}), 1.0, 0.05, 0.5)
    place = {name: (g["lr_scale"], g["weight_decay"]) for g in groups for name in g["names"]}
    for k in range(4):  # four blocks, so the last group is 5 and block k is in group k + 1
        own = place[f"backbone.encoder.blocks.{k}.attn.{TABLE}"]
        assert own == (0.5 ** (4 - k), 0.0) and own[0] == place[f"backbone.encoder.blocks.{k}.attn.qkv.weight"][0]
    sum(m.square().mean() for m in model(torch.randn(1, 3, *SIZE))).backward()
    assert all(block.attn.relative_position_bias_table.grad.abs().sum() > 0 for block in model.encoder.blocks)


def test_the_ledger_calls_the_tables_new_and_a_start_makes_them_zero(write):
    folder, _ = write()
    model = scatter_tables(pyramid(folder, relative_bias=SIZE))
    assert model.ledger.new == {f"blocks.{k}.attn.{TABLE}": REASON for k in range(4)}
    assert {type(block.attn) for block in model.encoder.blocks} == {BiasedAttention}
    assert model.encoder.blocks[0].attn.relative_position_bias_table.shape == (15 * 23 + 3, 3)
    model.init_weights()
    assert not any(block.attn.relative_position_bias_table.any() for block in model.encoder.blocks)


@pytest.mark.parametrize(
    "name, kwargs, said",
    [
        ("beit_base_patch16_224", dict(embed_dim=24, depth=1, num_heads=2), "no ViT with absolute positions alone"),
        ("resnet10t", {}, "no ViT with absolute positions alone"),
        ("vit_tiny_patch16_224", dict(embed_dim=24, depth=1, num_heads=2, reg_tokens=2), "has 3 tokens beside"),
    ],
)
def test_encoders_without_such_positions_are_refused(name, kwargs, said):
    with pytest.raises(UserError, match=f"{said}.*set model.backbone.relative_bias=None"):
        add_relative_bias(build_encoder(name, kwargs), Ledger((), {}, {}, {}, {}), (224, 224))
