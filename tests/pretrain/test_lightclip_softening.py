"""Softened labels and the loss against them, by float64 loops; the schedule's boundaries; two processes."""

import math

import numpy as np
import pytest
import torch

from engine.errors import UserError
from pretrain.methods.lightclip_softening import soft_labels, softened_losses, softening_at
from pretrain.parts.losses import contrastive_losses, new_logit_scale
from tests.pretrain.processes import on_two_processes

KINDS = ("hard", "uniform", "importance")
ALPHA = 0.2


def labels_by_loops(logits, kind):
    n = len(logits)
    rows = []
    for i in range(n):
        others = sum(math.exp(logits[i][k]) for k in range(n) if k != i)
        row = []
        for j in range(n):
            negative = {"hard": 0, "uniform": ALPHA / (n - 1), "importance": ALPHA * math.exp(logits[i][j]) / others}
            row.append((1.0 if kind == "hard" else 1 - ALPHA) if i == j else negative[kind])
        rows.append(row)
    return rows


def loss_by_loops(image, text, scale, kind, labels=None):
    """((image -> text), (text -> image)) in float64 as torch scalars, with labels as plain numbers."""
    n, losses = len(image), []
    for a, b in ((image, text), (text, image)):
        logits = [[scale * (x @ y) / (x.norm() * y.norm()) for y in b] for x in a]
        target = labels_by_loops([[float(v) for v in row] for row in logits], kind)
        loss = 0
        for i in range(n):
            total = sum(torch.exp(v) for v in logits[i])
            loss = loss - sum(target[i][j] * torch.log(torch.exp(logits[i][j]) / total) for j in range(n)) / n
        losses.append(loss)
    return losses


def features(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(5, 6, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(True) for _ in "ab")


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_equal_loops(kind):
    image, text = features(torch.float32)
    scale = torch.nn.Parameter(torch.tensor(1.2))
    found = softened_losses(image, text, scale, kind, ALPHA)
    (found[0] + 2 * found[1]).backward()
    image64, text64 = features()
    scale64 = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)
    expected = loss_by_loops(image64, text64, scale64.exp(), kind)
    (expected[0] + 2 * expected[1]).backward()
    assert [float(x) for x in found] == pytest.approx([float(x) for x in expected], rel=1e-5)
    assert abs(float(expected[0] - expected[1])) > 1e-3  # else the test could not tell the directions apart
    for own, other in ((image, image64), (text, text64), (scale, scale64)):
        torch.testing.assert_close(own.grad.double(), other.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_labels(kind):
    logits = torch.randn(4, 9, dtype=torch.float64, requires_grad=True)
    positive = torch.tensor([3, 0, 8, 5])
    labels = soft_labels(logits, positive, kind, ALPHA)
    assert not labels.requires_grad
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(4, dtype=torch.float64))
    mass = labels.gather(1, positive.unsqueeze(1))
    torch.testing.assert_close(mass, torch.full_like(mass, 1.0 if kind == "hard" else 0.8))


def test_importance_follows_the_similarity():
    logits = torch.tensor([[9.0, 1.0, 2.0, 3.0]])
    labels = soft_labels(logits, torch.tensor([0]), "importance", ALPHA)[0]
    weights = np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum()
    np.testing.assert_allclose(labels[1:], ALPHA * weights, rtol=1e-6)
    uniform = soft_labels(logits, torch.tensor([0]), "uniform", ALPHA)[0]
    np.testing.assert_allclose(uniform[1:], ALPHA / 3, rtol=1e-6)


def test_hard_labels_are_clips():
    image, text = features(torch.float32)
    scale = new_logit_scale()
    for a, b in zip(
        softened_losses(image, text, scale, "hard", ALPHA), contrastive_losses(image, text, scale), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_schedule():
    below = float(np.nextafter(0.33, 0)), float(np.nextafter(0.66, 0))
    found = [softening_at(p) for p in (0.0, below[0], 0.33, below[1], 0.66, 1.0)]
    assert found == ["hard", "hard", "uniform", "uniform", "importance", "importance"]
    whole = [softening_at(epoch / 32) for epoch in range(32)]  # 32 epochs: 10.56 and 21.12
    assert [whole.count(kind) for kind in KINDS] == [11, 11, 10]
    assert softening_at(0.1, (0.0, 0.2)) == "uniform"


def test_one_pair_has_no_negatives():
    with pytest.raises(UserError, match="need a negative"):
        softened_losses(torch.ones(1, 3), torch.ones(1, 3), new_logit_scale(), "uniform", ALPHA)


def shared(rows, kind):
    generator = torch.Generator().manual_seed(2)
    image, text = (torch.randn(8, 6, generator=generator) for _ in "ab")
    weight = (torch.eye(6) * 1.5).requires_grad_(True)
    scale = new_logit_scale()
    loss = sum(softened_losses(image[rows] @ weight, text[rows] @ weight.tanh(), scale, kind, ALPHA))
    loss.backward()
    return [loss.detach(), weight.grad, scale.grad]


def test_two_processes_equal_one(tmp_path):
    def step(rows):
        return {f"{kind} {k}": value for kind in KINDS for k, value in enumerate(shared(rows, kind))}

    results, expected = on_two_processes(step, 8, tmp_path), step(slice(0, 8))
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(results[name], value, msg=name)
