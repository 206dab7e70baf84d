"""Maps and their measures against loops and planted attention; the share of crops against an integral."""

import math

import numpy as np
import pytest
import torch

from analysis import attention_maps
from analysis.attention_maps import centre_prior, crops_with_centre, entropy, measure, two_maps
from analysis.pictures import Picture, load_pictures
from tests.analysis.test_attention import attention_by_hand


def test_maps_against_a_loop():
    torch.manual_seed(0)
    attention = torch.randn(2, 3, 1 + 6, 1 + 6).softmax(dim=-1)
    maps = two_maps(attention, prefix=1)
    for image in range(2):
        table = attention[image].double().mean(dim=0).tolist()
        of_class = table[0][1:]
        of_patches = [sum(table[1 + q][1 + k] for q in range(6)) / 6 for k in range(6)]
        for name, row in (("class", of_class), ("patch", of_patches)):
            assert maps[name][image].tolist() == pytest.approx([value / sum(row) for value in row])


def test_entropy_of_one_patch_of_two_and_of_all():
    maps = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    assert entropy(maps).tolist() == [0, 1, 2]


def test_measures_of_planted_attention():
    """All attention on the lower right patch of 2 x 2, half of which an object covers."""
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[4:, 6:] = True
    pictures = [Picture("a", torch.zeros(3, 8, 8, dtype=torch.uint8), {"cube": mask}),
                Picture("b", torch.zeros(3, 8, 8, dtype=torch.uint8))]  # fmt: skip
    maps = {"patch": torch.tensor([[0.0, 0, 0, 1], [0.0, 0, 0, 1]], dtype=torch.float64)}
    found = measure(maps, pictures, (2, 2))
    assert found["patch_inside"].value == pytest.approx(50)  # the picture without masks has no part in it
    assert found["uniform_inside"].value == pytest.approx(100 * 8 / 64)
    assert found["patch_entropy"].value == 0 and found["uniform_entropy"].value == 2
    assert found["patch_centre"].value == pytest.approx(25) and found["uniform_centre"].value == pytest.approx(100)
    assert "patch_inside" not in measure(maps, pictures[1:] * 2, (2, 2))


def test_centre_prior_is_highest_in_the_middle():
    prior = centre_prior((5, 7))
    assert float(prior.sum()) == pytest.approx(1) and int(prior.argmax()) == 2 * 7 + 3
    ratio = math.exp(-0.5 * (0.2 / 0.25) ** 2)
    assert float(prior[1, 3] / prior[2, 3]) == pytest.approx(ratio)


def test_crops_against_the_integral():
    """A side of length l, placed uniformly on [0, 1 - l], holds 1/2 with probability min(1, l / (1 - l))."""

    def holds(side):
        return np.where(side >= 0.5, 1.0, side / np.maximum(1 - side, 1e-9))

    for low in (0.08, 0.2):
        area = np.linspace(low, 1, 801)[:, None]
        aspect = np.exp(np.linspace(math.log(3 / 4), math.log(4 / 3), 801))[None]
        width, height = np.sqrt(area * aspect), np.sqrt(area / aspect)
        fits = (width <= 1) & (height <= 1)  # misfits are drawn again
        expected = (holds(width) * holds(height) * fits).sum() / fits.sum()
        assert crops_with_centre((low, 1.0), draws=4000) == pytest.approx(expected, abs=0.02)
    assert crops_with_centre((1.0, 1.0), draws=10) == 1


def test_a_checkpoint_with_and_without_masks(lively, pictures, monkeypatch):
    monkeypatch.setattr(attention_maps, "BATCH", 3)
    (checkpoint, encoder), (folder, masks) = lively, pictures
    found = attention_maps.run(str(checkpoint), folder, masks, count=4)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ([0.4, 0.5, 0.6], [0.2, 0.3, 0.1]))
    expected = {"class": [], "patch": []}
    for picture in load_pictures(folder, 4, 32):
        last = attention_by_hand(encoder, (picture.pixels / 255 - mean) / std)[-1].double().mean(dim=0)[:, 1:]
        for name, row in (("class", last[0]), ("patch", last[1:].mean(dim=0))):
            expected[name].append(row / row.sum())
    for name, of_all in expected.items():
        mean_map = torch.tensor(found.values["mean_map"][name], dtype=torch.float64)
        torch.testing.assert_close(mean_map.flatten(), sum(of_all) / 4, rtol=1e-4, atol=1e-6)
        bits = sum(-(row * row.log2()).sum() for row in of_all) / 4
        assert found.scalars[f"{name}_entropy"].value == pytest.approx(float(bits), abs=1e-4)
    assert found.scalars["uniform_entropy"].value == 4
    assert found.scalars["uniform_inside"].value == pytest.approx(100 * 5 * 64 / (4 * 1024))
    bare = attention_maps.run(str(checkpoint), folder, count=4)
    assert set(found.scalars) - set(bare.scalars) == {"class_inside", "patch_inside", "uniform_inside"}
    assert bare.scalars["class_entropy"] == found.scalars["class_entropy"]
    assert "data:image/png;base64" in found.figure
