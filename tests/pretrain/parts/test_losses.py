"""CLIP's loss against plain loops, its temperature, and the gather across processes."""

import math

import numpy as np
import pytest
import torch

from pretrain.parts.losses import clamp_logit_scale, contrastive_losses, new_logit_scale
from tests.pretrain.processes import on_two_processes


def by_loops(image, text, scale):
    """Both directions in float64, one pair at a time."""
    image = [row / np.sqrt((row**2).sum()) for row in image]
    text = [row / np.sqrt((row**2).sum()) for row in text]
    n = len(image)
    loss_image = loss_text = 0.0
    for i in range(n):
        to_text = [math.exp(float(image[i] @ text[j]) * scale) for j in range(n)]
        to_image = [math.exp(float(image[j] @ text[i]) * scale) for j in range(n)]
        loss_image -= math.log(to_text[i] / sum(to_text)) / n
        loss_text -= math.log(to_image[i] / sum(to_image)) / n
    return loss_image, loss_text


def test_both_directions_equal_loops():
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    expected = by_loops(image, text, 1 / 0.07)
    found = contrastive_losses(torch.tensor(image), torch.tensor(text), new_logit_scale())
    assert [float(x) for x in found] == pytest.approx(expected, rel=1e-5)
    assert abs(expected[0] - expected[1]) > 1e-3  # else the test could not tell the directions apart


def test_temperature_starts_at_clips_value_and_is_clamped():
    scale = new_logit_scale()
    assert float(scale) == pytest.approx(math.log(1 / 0.07))
    with torch.no_grad():
        scale.fill_(9.0)
    clamp_logit_scale(scale)
    assert float(scale) == pytest.approx(math.log(100))
    with torch.no_grad():
        scale.fill_(-1.0)
    clamp_logit_scale(scale)
    assert float(scale) == 0


def step(rows):
    generator = torch.Generator().manual_seed(1)
    image, text = torch.randn(8, 6, generator=generator), torch.randn(8, 6, generator=generator)
    weight = (torch.eye(6) * 1.5).requires_grad_(True)
    scale = new_logit_scale()
    loss = sum(contrastive_losses(image[rows] @ weight, text[rows] @ weight.tanh(), scale))
    loss.backward()
    return {"loss": loss.detach(), "weight": weight.grad, "scale": scale.grad}


def test_two_processes_equal_one(tmp_path):
    results, expected = on_two_processes(step, 8, tmp_path), step(slice(0, 8))
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(results[name], value, msg=name)
