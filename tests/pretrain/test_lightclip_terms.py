"""LightCLIP's token and word terms with their gradients against float64 loops, one pair or caption at a time."""

import copy

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from backbones.text import end_positions, word_tokens
from pretrain.methods.lightclip import LightCLIP
from pretrain.parts.mlm import ChosenWords, choose_words, corrupt_words
from tests.pretrain.samples import ENCODER

VIT = {"name": ENCODER["name"], "kwargs": {**ENCODER["kwargs"], "depth": 4}}


@pytest.fixture
def text4(text):
    return {**text, "layers": 4}


def build(text, **kwargs):
    torch.manual_seed(0)
    return LightCLIP(encoder=VIT, text=text, image_size=32, **kwargs)


def token_loss_by_loops(model, image, text, lengths, pairs):
    """In float64, one pair and one entry at a time."""
    losses = []
    for b, length in enumerate(lengths):
        rows = [model.image_tokens.weight @ row for row in image[b]]
        columns = [model.text_tokens.weight @ row for row in text[b, :length]]
        cosine = [[(r @ c) / (r.norm() * c.norm()) for c in columns] for r in rows]
        plain = torch.tensor([[-float(value) for value in row] for row in cosine], dtype=torch.float64)
        terms = [1 - cosine[r][c] for r, c in zip(*linear_sum_assignment(plain.numpy()), strict=True)]
        losses.append(sum(terms) / (len(terms) if pairs == "mean" else 1))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("pairs", ["mean", "sum"])
def test_token_loss_and_gradients_equal_loops(text4, batch, pairs):
    model = build(text4, pairs=pairs)
    lengths = [16, 9, 4, 2, 3, 5]
    valid = torch.arange(16) < torch.tensor(lengths).unsqueeze(1)
    image = torch.randn(6, 7, 24, requires_grad=True)  # 7 cells: fewer than some captions have tokens
    words = torch.randn(6, 16, 24, requires_grad=True)
    loss = model.token_loss(image, words, valid)
    loss.backward()
    slow = copy.deepcopy(model).double()
    slow.zero_grad()
    image64 = image.detach().double().requires_grad_(True)
    words64 = words.detach().double().requires_grad_(True)
    expected = token_loss_by_loops(slow, image64, words64, lengths, pairs)
    expected.backward()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    for found, wanted in (
        (image, image64),
        (words, words64),
        (model.image_tokens.weight, slow.image_tokens.weight),
        (model.text_tokens.weight, slow.text_tokens.weight),
    ):
        torch.testing.assert_close(found.grad.double(), wanted.grad, rtol=1e-3, atol=1e-6)
    assert not words.grad[~valid].any()  # padding is never matched
    assert bool((image.grad[3].abs().sum(dim=1) > 0).sum() == 2)  # two tokens, so two cells of seven


def test_token_loss_is_relaxed(text4):
    """A pair's gradient does not depend on the other pairs: there are no negatives."""
    model = build(text4)
    image, words = torch.randn(3, 7, 24), torch.randn(3, 6, 24)
    valid = torch.arange(6) < torch.tensor([[6], [4], [5]])
    grads = []
    for others in (1.0, -3.0):
        first = image.clone()
        first[1:] *= others
        first.requires_grad_(True)
        model.token_loss(first, words, valid).backward()
        grads.append(first.grad[0])
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=0)


def test_shared_projection_is_that_of_the_pooled_embeddings(text4, batch):
    model = build(text4, token_projection="shared")
    assert model.image_tokens is None and model.text_tokens is None
    image, words = torch.randn(2, 7, 24), torch.randn(2, 6, 24)
    loss = model.token_loss(image, words, torch.ones(2, 6, dtype=torch.bool))
    own = build(text4)
    with torch.no_grad():
        own.image_tokens.weight.copy_(model.image_projection.weight)
        own.text_tokens.weight.copy_(model.text.projection.weight)
    torch.testing.assert_close(loss, own.token_loss(image, words, torch.ones(2, 6, dtype=torch.bool)))


def fuse_by_loops(fusion, image, length):
    """[C, h, w] -> [length, W]: channels of each cell, then cells of each position."""
    cells = image.flatten(1).T
    kernel = fusion.channels.weight[:, :, 0, 0]
    mapped = [kernel @ cell + fusion.channels.bias for cell in cells]
    if fusion.cells is None:
        return torch.stack([sum(mapped) / len(mapped)] * length)
    rows = []
    for t in range(length):
        rows.append(sum(fusion.cells.weight[t, i] * m for i, m in enumerate(mapped)) + fusion.cells.bias[t])
    return torch.stack(rows)


def mlm_by_loops(mlm, tower, tokens, masked, chosen, second, third):
    """One caption at a time and without its padding, text alone and with the image each in a pass of its own."""
    ids, losses, quarter = tower.own_ids(tokens), [], len(tower.blocks) // 4
    for b in range(len(tokens)):
        length = int(end_positions(tokens)[b]) + 1
        for with_image in (False, True):
            x = tower.token_embedding.weight[masked[b, :length]] + tower.positional_embedding[:length]
            for number, block in enumerate(tower.blocks):
                x = block(x.unsqueeze(0), is_causal=mlm.causal)[0]
                if with_image and number == 2 * quarter - 1:
                    x = x + fuse_by_loops(mlm.fusions[0], second[b], length)
                if with_image and number == 3 * quarter - 1:
                    x = x + fuse_by_loops(mlm.fusions[1], third[b], length)
            x = tower.ln_final(x)
            places = [k for k in range(chosen.index.shape[1]) if chosen.weight[b, k] > 0]
            for k in places:
                place = int(chosen.index[b, k])
                scores = mlm.classifier(x[place])
                losses.append(-(scores[ids[b, place]] - scores.exp().sum().log()) / len(places))
    return sum(losses) / (2 * len(tokens))


@pytest.mark.parametrize("layers", [4, 8])
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"fusion": "pool"}], ids=str)
def test_mlm_and_gradients_equal_loops(text4, batch, options, layers):
    model = build({**text4, "layers": layers}, mlm={"ratio": 0.4, **options})
    mlm, tower, tokens = model.mlm, model.text, batch["tokens"]
    with torch.no_grad():
        for fusion in mlm.fusions:
            fusion.channels.weight.mul_(30)  # else the image's share would be too small to be checked
            fusion.channels.bias.normal_()
    second, third = torch.randn(6, 24, 4, 4, requires_grad=True), torch.randn(6, 24, 4, 4, requires_grad=True)
    torch.manual_seed(3)
    loss = mlm(tower, tokens, second, third)
    loss.backward()
    torch.manual_seed(3)
    chosen = choose_words(word_tokens(tokens), 0.4)
    masked = corrupt_words(tower.own_ids(tokens), chosen, tower.mask_id, (0.8, 0.1, 0.1))
    slow = copy.deepcopy(model).double()
    slow.zero_grad()
    second64, third64 = (m.detach().double().requires_grad_(True) for m in (second, third))
    expected = mlm_by_loops(slow.mlm, slow.text, tokens, masked, chosen, second64, third64)
    expected.backward()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    for found, wanted in ((second, second64), (third, third64)):
        assert wanted.grad.abs().max() > 1e-5
        torch.testing.assert_close(found.grad.double(), wanted.grad, rtol=1e-3, atol=1e-6)
    other = dict(slow.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad.double(), other[name].grad, rtol=1e-3, atol=1e-5, msg=name)


def test_corruption_shares():
    torch.manual_seed(0)
    ids = torch.randint(1000, (400, 20))
    chosen = ChosenWords(torch.arange(20).expand(400, 20), torch.ones(400, 20))
    found = corrupt_words(ids, chosen, 1000, (0.8, 0.1, 0.1))
    shares = [
        (found == 1000).float().mean(),
        ((found != ids) & (found < 1000)).float().mean(),
        (found == ids).float().mean(),
    ]
    assert [float(s) for s in shares] == pytest.approx([0.8, 0.1, 0.1], abs=0.015)
    unchosen = ChosenWords(chosen.index, torch.zeros(400, 20))
    assert torch.equal(corrupt_words(ids, unchosen, 1000, (0.8, 0.1, 0.1)), ids)


def test_fifteen_percent_of_words(text4):
    model = build(text4)
    words = torch.zeros(2, 42, dtype=torch.bool)
    words[0, 1:41], words[1, 1:21] = True, True
    chosen = choose_words(words, model.mlm.ratio)
    assert (chosen.weight > 0).sum(dim=1).tolist() == [6, 3]
    assert model.mlm.corruption == (0.8, 0.1, 0.1)
