"""The probes' layers, optimizer and schedule against plain float64 computations."""

import math

import numpy as np
import pytest
import torch

from engine.errors import UserError
from recognition.probes import AttentiveProbe, LinearProbe, batches, build_optimizer, build_probe, rate


def test_batch_norm_without_affine_by_loops():
    torch.manual_seed(0)
    probe = LinearProbe(5, 3)
    assert [name for name, _ in probe.named_parameters()] == ["linear.weight", "linear.bias"]
    assert probe.linear.weight.abs().max() < 0.05 and probe.linear.bias.abs().max() == 0
    rows = torch.randn(7, 5) * torch.tensor([1e-3, 1.0, 2.0, 3.0, 4.0]) + 2
    found = probe(rows).detach().double().numpy()
    x, weight = rows.double().numpy(), probe.linear.weight.detach().double().numpy()
    expected, running = np.zeros((7, 3)), np.zeros((2, 5))
    for d in range(5):
        mean = sum(x[:, d]) / 7
        variance = sum((value - mean) ** 2 for value in x[:, d]) / 7
        running[:, d] = 0.1 * mean, 0.9 + 0.1 * variance * 7 / 6
        for k in range(7):
            expected[k] += weight[:, d] * (x[k, d] - mean) / math.sqrt(variance + 1e-6)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(probe.norm.running_mean.double(), running[0], rtol=1e-6)
    # in evaluation mode the running statistics, whatever the batch
    found = probe.eval()(rows[:1]).detach().double().numpy()[0]
    expected = weight @ ((x[0] - running[0]) / np.sqrt(running[1] + 1e-6))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def layer_norm(row, gain, shift):
    return (row - row.mean()) / np.sqrt(((row - row.mean()) ** 2).mean() + 1e-6) * gain + shift


def test_the_attentive_probe_by_loops():
    """As published: tokens projected to keys and values one by one, softmax over them, heads one by one."""
    torch.manual_seed(1)
    probe = AttentiveProbe(96, 4).double()
    assert probe.heads == 3
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    tokens = 3 * torch.randn(5, 6, 96, dtype=torch.float64) + 1
    found = probe.attend(torch.nn.functional.layer_norm(tokens, (96,), eps=1e-6)).detach().numpy()
    p = {name: value.detach().numpy() for name, value in probe.named_parameters()}
    normed = layer_norm(p["query"], p["norm_query.weight"], p["norm_query.bias"])
    query = p["to_query.weight"] @ normed + p["to_query.bias"]
    for image in range(5):
        # a shift of the keys' norm, as published code has, changes nothing: here one is drawn
        keys = [p["to_key.weight"] @ layer_norm(t, p["key_gain"], 0.7) for t in tokens[image].numpy()]
        values = [p["to_value.weight"] @ layer_norm(t, p["value_gain"], p["value_shift"]) + p["to_value.bias"]
                  for t in tokens[image].numpy()]  # fmt: skip
        seen = []
        for head in (slice(0, 32), slice(32, 64), slice(64, 96)):
            scores = np.array([query[head] @ key[head] / math.sqrt(32) for key in keys])
            shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            assert shares.max() > 0.3, "attention that is not uniform"
            seen.append(sum(s * value[head] for s, value in zip(shares, values, strict=True)))
        expected = p["project.weight"] @ np.concatenate(seen) + p["project.bias"]
        np.testing.assert_allclose(found[image], expected, rtol=1e-6, atol=1e-5)


def test_every_parameter_of_the_attentive_probe_learns():
    torch.manual_seed(2)
    probe = AttentiveProbe(48, 3)
    optimizer = torch.optim.SGD(probe.parameters(), 0.1)
    for _ in range(3):  # the query starts at 0, so that at first nothing but biases moves it
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(probe(torch.randn(8, 5, 48).half()), torch.arange(8) % 3).backward()
        optimizer.step()
    assert [name for name, p in probe.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_lars_by_hand():
    """MAE's: 0.001 |w| / |g| for matrices, none for biases, momentum 0.9 of the scaled gradients."""
    torch.manual_seed(3)
    layer = torch.nn.Linear(4, 3).double()
    with torch.no_grad():
        layer.bias.mul_(5)
    optimizer = build_optimizer("lars", layer.parameters(), lr=99.0)
    plain = {name: p.detach().numpy().copy() for name, p in layer.named_parameters()}
    momentum = {name: np.zeros_like(value) for name, value in plain.items()}
    for step in range(4):
        for group in optimizer.param_groups:
            group["lr"] = 2.0 + step
        gradients = {name: torch.randn_like(p) for name, p in layer.named_parameters()}
        if step == 2:
            gradients["weight"].zero_()  # no gradient, no ratio
        for name, p in layer.named_parameters():
            p.grad = gradients[name].clone()
            g = gradients[name].numpy()
            norm = math.sqrt((g**2).sum())
            if name == "weight" and norm > 0:
                g = g * 0.001 * math.sqrt((plain[name] ** 2).sum()) / norm
            momentum[name] = 0.9 * momentum[name] + g
            plain[name] = plain[name] - (2.0 + step) * momentum[name]
        optimizer.step()
        for name, p in layer.named_parameters():
            np.testing.assert_allclose(p.detach().numpy(), plain[name], rtol=1e-9)


def test_sgd_is_one_group_without_decay():
    optimizer = build_optimizer("sgd", torch.nn.Linear(2, 2).parameters(), 0.4)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["weight_decay"], group["lr"], len(group["params"])) == (0.9, 0, 0.4, 2)


def test_the_rate_rises_for_ten_of_ninety_epochs_and_falls_to_zero():
    warm_up = 10 / 90
    assert rate(0.0, warm_up) == 0
    assert rate(5 / 90, warm_up) == pytest.approx(0.5)
    assert rate(10 / 90, warm_up) == pytest.approx(1)
    assert rate(50 / 90, warm_up) == pytest.approx(0.5)
    assert rate(1.0, warm_up) == pytest.approx(0)


def test_batches_hold_every_image_once_an_epoch_but_the_last_few():
    generator = torch.Generator().manual_seed(0)
    drawn = list(batches(10, 4, 3, generator))
    assert [len(batch) for batch in drawn] == [4] * 6
    for epoch in range(3):
        seen = torch.cat(drawn[2 * epoch : 2 * epoch + 2]).tolist()
        assert len(set(seen)) == 8
    assert drawn[0].tolist() != drawn[2].tolist()


def test_kinds():
    features = torch.randn(4, 48)
    plain = build_probe("plain", 48, 3)
    torch.testing.assert_close(plain(features), features @ plain.linear.weight.T)
    with pytest.raises(UserError, match="no probe of kind 'mlp': choose one of linear, plain, attentive"):
        build_probe("mlp", 48, 3)
    with pytest.raises(UserError, match="'lars' or 'sgd', not 'adam'"):
        build_optimizer("adam", plain.parameters(), 1.0)
