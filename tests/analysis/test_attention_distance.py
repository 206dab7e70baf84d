"""Distances against closed forms, a plain loop, and attention that was planted."""

import math

import pytest
import torch

from analysis import attention_distance
from analysis.attention_distance import mean_distance, patch_distances
from analysis.pictures import load_pictures
from engine.errors import UserError
from tests.analysis.test_attention import attention_by_hand


def test_uniform_attention_and_the_largest_distance():
    distances = patch_distances((14, 14), (16, 16))
    assert distances.shape == (196, 196)
    assert float(distances.max()) == pytest.approx(294.16, abs=0.005) == 16 * 13 * math.sqrt(2)
    uniform = torch.full((1, 2, 196, 196), 1 / 196)
    torch.testing.assert_close(
        mean_distance(uniform, distances, prefix=0, renormalise=False),
        torch.full((1, 2), 116.49, dtype=torch.float64),
        atol=0.005, rtol=0,
    )  # fmt: skip


def test_distances_of_an_oblong_grid_by_hand():
    found = patch_distances((2, 3), (16, 8))
    assert found[0].tolist() == [0, 8, 16, 16, math.hypot(16, 8), math.hypot(16, 16)]


@pytest.mark.parametrize("renormalise", [False, True])
def test_against_a_loop(renormalise):
    """Class token and one register: rows and columns 0 and 1 are no patches."""
    torch.manual_seed(0)
    attention = torch.randn(2, 3, 2 + 12, 2 + 12).softmax(dim=-1)
    found = mean_distance(attention, patch_distances((3, 4), (8, 8)), prefix=2, renormalise=renormalise)
    for image in range(2):
        for head in range(3):
            total = 0.0
            for query in range(12):
                row = attention[image, head, 2 + query].double().tolist()[2:]
                norm = sum(row) if renormalise else 1.0
                for key in range(12):
                    apart = math.hypot(query // 4 - key // 4, query % 4 - key % 4)
                    total += row[key] / norm * 8 * apart / 12
            assert float(found[image, head]) == pytest.approx(total, abs=1e-9)


def test_planted_attention():
    """All look at the patch in the corner; then all at themselves; then all at the class token."""
    distances = patch_distances((4, 4), (8, 8))
    corner = torch.zeros(1, 1, 17, 17)
    corner[..., 1] = 1
    assert mean_distance(corner, distances, 1, False).item() == pytest.approx(distances[0].mean().item())
    own = torch.eye(17)[None, None]
    assert mean_distance(own, distances, 1, False).item() == 0
    half = 0.5 * corner
    half[..., 0] = 0.5
    assert mean_distance(half, distances, 1, False).item() == pytest.approx(distances[0].mean().item() / 2)
    assert mean_distance(half, distances, 1, True).item() == pytest.approx(distances[0].mean().item())


@pytest.mark.parametrize("renormalise", [False, True])
def test_a_checkpoint(lively, pictures, monkeypatch, renormalise):
    monkeypatch.setattr(attention_distance, "BATCH", 2)
    folder, encoder = lively
    found = attention_distance.run(str(folder), pictures[0], 3, renormalise)
    again = attention_distance.run(str(folder), pictures[0], 3, renormalise)
    table = torch.tensor(found.values["distance_px"], dtype=torch.float64)
    expected, distances = torch.zeros(2, 3, dtype=torch.float64), patch_distances((4, 4), (8, 8))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ([0.4, 0.5, 0.6], [0.2, 0.3, 0.1]))
    for picture in load_pictures(pictures[0], 3, 32):
        for layer, attention in enumerate(attention_by_hand(encoder, (picture.pixels / 255 - mean) / std)):
            between = attention[:, 1:, 1:].double()
            if renormalise:
                between /= between.sum(dim=-1, keepdim=True)
            expected[layer] += (between * distances).sum(dim=(1, 2)) / 16 / 3
    torch.testing.assert_close(table, expected, rtol=1e-4, atol=1e-4)
    assert found.settings["images"] == 3 and found.settings["renormalise"] is renormalise
    assert found.scalars["mean"].value == pytest.approx(float(table.mean()))
    deep = table[1]
    assert found.scalars["deep_spread"].value == pytest.approx(float(deep.std(correction=0)), abs=1e-5)
    assert found.scalars["deep_lowest"].value == pytest.approx(float(deep.min()), abs=1e-5)
    assert found.scalars["uniform"].value == pytest.approx(float(patch_distances((4, 4), (8, 8)).mean()))
    assert found == again and found.figure.rstrip().endswith("</svg>")


def test_images_that_cannot_be_used(mae, tmp_path):
    with pytest.raises(UserError, match="there is no folder of images .*absent: check --images"):
        attention_distance.run(str(mae), str(tmp_path / "absent"))
    with pytest.raises(UserError, match="holds no images of type"):
        attention_distance.run(str(mae), str(tmp_path))
