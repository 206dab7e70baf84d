"""CLIP's loss against plain loops, its temperature, and the gather across processes."""

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pretrain.losses import clamp_logit_scale, contrastive_losses, new_logit_scale


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


def features_and_weight():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 6, generator=generator), torch.randn(8, 6, generator=generator), torch.eye(6) * 1.5


def one_process():
    image, text, weight = features_and_weight()
    weight.requires_grad_(True)
    scale = new_logit_scale()
    loss = sum(contrastive_losses(image @ weight, text @ weight.tanh(), scale))
    loss.backward()
    return loss.detach(), weight.grad, scale.grad


def worker(rank, port, folder):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    image, text, weight = features_and_weight()
    weight.requires_grad_(True)
    scale = new_logit_scale()
    mine = slice(4 * rank, 4 * rank + 4)
    loss = sum(contrastive_losses(image[mine] @ weight, text[mine] @ weight.tanh(), scale))
    loss.backward()
    results = [loss.detach(), weight.grad, scale.grad]
    for value in results:  # what data-parallel training does with gradients
        dist.all_reduce(value)
        value /= 2
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(worker, args=(port, str(tmp_path)), nprocs=2, start_method="fork")
    for found, expected in zip(torch.load(tmp_path / "results.pt"), one_process(), strict=True):
        torch.testing.assert_close(found, expected)
