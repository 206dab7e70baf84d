"""Latency: the form for inference computes what the trained form does, and the clock is read as it should be."""

import time

import pytest
import torch
from torch import nn

from analysis import latency
from analysis.latency import for_inference, timed
from backbones import build_encoder, flops_per_image, parameter_count
from engine.errors import UserError


def test_merged_branches_compute_the_same():
    torch.manual_seed(0)
    encoder = build_encoder("fastvit_t8", {"layers": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32)})
    for module in encoder.modules():  # statistics of batches that are not 0 and 1
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    merged, image = for_inference(encoder), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(merged(image), encoder.eval()(image), rtol=1e-3, atol=1e-4)
    assert parameter_count(merged) < parameter_count(encoder) and not merged.training


class Slow(nn.Module):
    """Takes five milliseconds, and longer while it is cold."""

    def __init__(self):
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.zeros(1)), 0

    def forward(self, image):
        self.calls += 1
        time.sleep(0.2 if self.calls == 1 else 0.005)


def test_single_runs_are_timed_and_the_first_are_left_out():
    seconds = timed(Slow(), size=8, runs=5)
    assert len(seconds) == 5 and min(seconds) >= 0.005 and sorted(seconds)[2] < 0.1


def test_a_checkpoint(mae, capsys):
    found = latency.run(str(mae), runs=100)
    times = sorted(found.values["milliseconds"])
    assert len(times) == 100 and times[49] <= found.scalars["median"].value <= times[50]
    assert found.scalars["tenth"].value <= found.scalars["median"].value <= found.scalars["ninetieth"].value
    encoder = build_encoder(**found.checkpoints[0]["encoder"])
    assert found.scalars["parameters"].value == pytest.approx(parameter_count(encoder) / 1e6)
    assert found.scalars["flops"].value == pytest.approx(flops_per_image(encoder, 32, 32) / 1e9)
    assert found.settings["size"] == 32 and found.settings["reparameterised"] is False
    assert capsys.readouterr().out == f"machine: {found.settings['machine']}\n"


def test_what_is_refused(mae):
    with pytest.raises(UserError, match="a median of 99 runs is too uncertain: give --runs 100 or more"):
        latency.run(str(mae), runs=99)
    with pytest.raises(UserError, match="vit_tiny_patch16_224 refuses an image of 33 pixels per side"):
        latency.run(str(mae), size=33)
