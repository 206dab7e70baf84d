"""CAE's equations: both losses, their gradients and the regressor's block against float64 loops.

The loops compute one sample, one head and one query at a time.
"""

import math

import pytest
import torch
from torch import nn

from pretrain.methods import cae as module
from pretrain.methods.cae import RegressorBlock
from pretrain.parts.block_masking import block_mask
from tests.pretrain.cae_samples import CPU, a_batch, shaken, slow_positions


def slow_norm(x, layer):
    rows = []
    for row in x:
        mean = row.sum() / len(row)
        variance = ((row - mean) ** 2).sum() / len(row)
        rows.append((row - mean) / (variance + 1e-6).sqrt() * layer.weight + layer.bias)
    return torch.stack(rows)


def slow_linear(x, weight, bias):
    return x @ weight.T + bias


def slow_attention(q, k, v, heads):
    """q [M, W], k and v [K, W] -> [M, W], before the output projection."""
    size = q.shape[1] // heads
    rows = []
    for i in range(len(q)):
        parts = []
        for h in range(heads):
            own = slice(h * size, (h + 1) * size)
            chance = (k[:, own] @ q[i, own] / math.sqrt(size)).exp()
            parts.append((chance / chance.sum()) @ v[:, own])
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def slow_mlp(x, mlp):
    hidden = slow_linear(x, mlp.fc1.weight, mlp.fc1.bias)
    return slow_linear(0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2))), mlp.fc2.weight, mlp.fc2.bias)


def slow_block(x, block):
    """An ordinary pre-norm block; queries and values have a bias, keys have none (it has no effect)."""
    width, normed = x.shape[1], slow_norm(x, block.norm1)
    weight, bias = block.attn.qkv.weight, block.attn.qkv.bias
    q = slow_linear(normed, weight[:width], bias[:width])
    k = slow_linear(normed, weight[width : 2 * width], torch.zeros(width))
    v = slow_linear(normed, weight[2 * width :], bias[2 * width :])
    mixed = slow_linear(slow_attention(q, k, v, 3), block.attn.proj.weight, block.attn.proj.bias)
    x = x + block.ls1.gamma * mixed
    return x + block.ls2.gamma * slow_mlp(slow_norm(x, block.norm2), block.mlp)


def slow_regressor_block(x, visible, pos, pos_visible, block, heads):
    both = torch.cat([visible, x])
    q = slow_linear(slow_norm(x + pos, block.norm_q), block.q.weight, block.q.bias)
    k = slow_linear(
        slow_norm(both + torch.cat([pos_visible, pos]), block.norm_k), block.k.weight, torch.zeros(len(x.T))
    )
    v = slow_linear(slow_norm(both, block.norm_v), block.v.weight, block.v.bias)
    x = x + block.scale_attention.gamma * slow_linear(
        slow_attention(q, k, v, heads), block.proj.weight, block.proj.bias
    )
    x = slow_norm(x, block.norm_mlp)
    return x + block.scale_mlp.gamma * slow_mlp(x, block.mlp)


def slow_encoder(model, image, places):
    """CLS and the patches at `places` of an image [3, 32, 32] -> their final tokens without CLS."""
    encoder, positions = model.encoder, slow_positions(24)
    tokens = [encoder.cls_token[0, 0]]
    for place in places:
        top, left = 8 * (place // 4), 8 * (place % 4)
        pixels = image[:, top : top + 8, left : left + 8]
        weight = encoder.patch_embed.proj.weight
        value = torch.stack([(weight[c] * pixels).sum() for c in range(24)]) + encoder.patch_embed.proj.bias
        tokens.append(value + positions[place])
    x = torch.stack(tokens)
    for block in encoder.blocks:
        x = slow_block(x, block)
    x = slow_norm(x, encoder.norm)[1:]
    if isinstance(model.adaptor, nn.Identity):
        return x
    linear, norm = model.adaptor
    return slow_norm(slow_linear(x, linear.weight, linear.bias), norm)


def slow_losses(model, inputs, keep, hidden, ids):
    """(reconstruction, lambda * alignment) of the whole batch."""
    reconstruction, alignment = [], []
    for image, kept, places, named in zip(inputs["image"].double(), keep, hidden, ids, strict=True):
        visible = slow_encoder(model, image, kept)
        positions = slow_positions(model.mask_token.shape[-1])
        x = torch.stack([model.mask_token[0, 0] for _ in places])
        for block in model.regressor:
            x = slow_regressor_block(x, visible, positions[places], positions[kept], block, block.heads)
        latent = slow_norm(x, model.regressor_norm)
        goal = slow_encoder(model, image, places).detach()
        alignment += list(((latent - goal) ** 2).flatten())
        x = latent + positions[places]
        for block in model.decoder[:-1]:
            x = slow_block(x, block)
        out = slow_linear(slow_norm(x, model.decoder[-1]), model.head.weight, model.head.bias)
        for row, place in zip(out, places, strict=True):
            if model.target == "token":
                reconstruction.append(-(row[named[place]] - row.exp().sum().log()))
            else:
                top, left = 8 * (place // 4), 8 * (place % 4)
                raw = torch.stack([image[c, top + y, left + z] for y in range(8) for z in range(8) for c in range(3)])
                mean = raw.sum() / len(raw)
                raw = (raw - mean) / (((raw - mean) ** 2).sum() / (len(raw) - 1) + 1e-6).sqrt()
                reconstruction += list((row - raw) ** 2)
    return sum(reconstruction) / len(reconstruction), model.align_weight * sum(alignment) / len(alignment)


@pytest.mark.parametrize(("target", "width", "heads"), [("token", 24, 3), ("token", 12, 3), ("pixel", 24, 3)])
def test_losses_and_gradients_by_loops(build_cae, monkeypatch, target, width, heads):
    model = shaken(build_cae(target=target, width=width, heads=heads, regressor_depth=2, decoder_depth=1)).double()
    inputs = a_batch()
    ids = build_cae().tokenizer.ids(inputs["pixels"])
    monkeypatch.setattr(model, "tokenizer", build_cae().tokenizer)  # in float32
    mask = block_mask(2, (4, 4), 6, CPU)
    monkeypatch.setattr(module, "block_mask", lambda *_, **__: mask)
    found = model(inputs={"image": inputs["image"].double(), "pixels": inputs["pixels"]})
    expected = slow_losses(model, inputs, mask.keep.tolist(), mask.hidden.tolist(), ids.tolist())
    assert float(found[f"loss_{target}"]) == pytest.approx(float(expected[0]), rel=1e-5)
    assert float(found["loss_align"]) == pytest.approx(float(expected[1]), rel=1e-5)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for ours, theirs in ((found[f"loss_{target}"], expected[0]), (found["loss_align"], expected[1])):
        got = torch.autograd.grad(ours, list(named.values()), allow_unused=True, retain_graph=True)
        want = torch.autograd.grad(theirs, list(named.values()), allow_unused=True, retain_graph=True)
        for name, a, b in zip(named, got, want, strict=True):
            if b is None:
                assert a is None, name
            else:
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("heads", [1, 4])
def test_regressor_block_by_loops(heads):
    torch.manual_seed(3)
    block = shaken(RegressorBlock(16, heads, init_values=0.1, drop_path=0.0)).double()
    x, visible = torch.randn(1, 5, 16, dtype=torch.float64), torch.randn(1, 7, 16, dtype=torch.float64)
    pos, pos_visible = torch.randn(1, 5, 16, dtype=torch.float64), torch.randn(1, 7, 16, dtype=torch.float64)
    expected = slow_regressor_block(x[0], visible[0], pos[0], pos_visible[0], block, heads)
    torch.testing.assert_close(block(x, visible, pos, pos_visible)[0], expected, rtol=1e-9, atol=1e-10)


def test_the_second_norm_lies_on_the_residual_stream():
    """With both branches off the block is that norm, not the identity of a pre-norm block."""
    block = RegressorBlock(16, 4, init_values=0.0, drop_path=0.0)
    x = 3 + 2 * torch.randn(1, 5, 16)
    out = block(x, torch.randn(1, 7, 16), torch.randn(1, 5, 16), torch.randn(1, 7, 16))
    torch.testing.assert_close(out, nn.functional.layer_norm(x, (16,), eps=1e-6))


def test_keys_see_positions_and_values_do_not():
    torch.manual_seed(3)
    block = shaken(RegressorBlock(16, 4, init_values=0.1, drop_path=0.0))
    seen = {}
    for name in ("norm_q", "norm_k", "norm_v"):
        block.get_submodule(name).register_forward_hook(lambda _, given, __, name=name: seen.update({name: given[0]}))
    x, visible, pos, pos_visible = (torch.randn(1, n, 16) for n in (5, 7, 5, 7))
    block(x, visible, pos, pos_visible)
    assert torch.equal(seen["norm_q"], x + pos)
    assert torch.equal(seen["norm_k"], torch.cat([visible + pos_visible, x + pos], dim=1))  # the queries too
    assert torch.equal(seen["norm_v"], torch.cat([visible, x], dim=1))


def test_positions_are_fixed_with_the_row_first(build_cae):
    model = build_cae(width=12)
    positions = model.encoder.pos_embed
    assert not positions.requires_grad and (positions[:, 0] == 0).all()
    torch.testing.assert_close(positions[0, 1:].double(), slow_positions(24), atol=1e-6, rtol=0)
    torch.testing.assert_close(model.positions.double(), slow_positions(12), atol=1e-6, rtol=0)
    before = positions.clone()
    model.init_weights()  # the runner calls it
    assert torch.equal(before, model.encoder.pos_embed)
