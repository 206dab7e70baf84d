"""Stored features: the encoder's own, read while nothing that decides them has changed, and never by accident."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from backbones.feature_store import stored
from backbones.towers import Features
from engine.errors import UserError
from recognition.feature_store import compute, pooled_features
from recognition.probe import tokens


@pytest.fixture
def files(tmp_path):
    """Five images of noise."""
    rng = np.random.default_rng(0)
    for k in range(5):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / f"{k}.png")
    return sorted(tmp_path.glob("*.png"))


@pytest.fixture
def features(mae, tmp_path):
    """An encoder with a store of its own, which counts its forward passes."""
    shutil.copytree(mae, tmp_path / "run" / "checkpoint")
    found = Features(tmp_path / "run" / "checkpoint", batch=2)
    found.passes = 0

    def count(*_):
        found.passes += 1

    found.model.register_forward_hook(count)
    return found


def test_computed_once(features, files):
    expected = compute(features, files)
    assert features.passes == 3 and not features.store.exists()
    first = pooled_features(features, files)
    again = pooled_features(features, files)
    assert features.passes == 6 and torch.equal(first, expected) and torch.equal(again, expected)
    assert features.store.name == "features" and len([*features.store.glob("*.safetensors")]) == 1


def test_maps_that_lie_channels_last_are_kept_as_numbers(tmp_path):
    maps = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)  # as ConvNeXt and Swin give them
    for _ in range(2):
        assert torch.equal(stored(tmp_path / "features", "maps-0", lambda: maps), maps)


def test_an_attentive_probe_leaves_them(features, files, monkeypatch):
    expected, every = compute(features, files), tokens(features, files)
    passes = features.passes
    assert torch.equal(pooled_features(features, files), expected) and features.passes == passes
    features.store = features.store.parent / "other"
    forward = features.model.forward
    monkeypatch.setattr(features.model, "forward", lambda images: forward(images) + 1)  # more than pooled tokens
    assert torch.equal(tokens(features, files), every) and not features.store.exists()


@pytest.mark.parametrize("change", ["weights", "encoder", "image", "order", "batch", "normalisation"])
def test_a_change_is_seen(features, files, change):
    before = pooled_features(features, files)
    if change == "weights":
        with torch.no_grad():
            features.model.norm.weight[0] += 1
    elif change == "encoder":  # the same weights in other heads
        features.meta["encoder"]["kwargs"]["num_heads"] += 1
    elif change == "image":
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(files[0])
    elif change == "order":
        files = files[::-1]
    elif change == "batch":
        features.batch = 5
    else:
        features.meta["image"]["mean"] = [0.1, 0.2, 0.3]
    passes = features.passes
    after = pooled_features(features, files)
    assert features.passes > passes
    if change in ("weights", "image"):
        assert not torch.allclose(after[0], before[0])
    if change == "order":
        torch.testing.assert_close(after, before.flip(0))


@pytest.mark.parametrize("damage", ["cut", "flipped", "no checksum"])
def test_damage_is_mended_with_a_word(features, files, capsys, damage):
    expected = pooled_features(features, files).clone()  # the stored ones are mapped from the file
    (stored,) = features.store.glob("*.safetensors")
    data = bytearray(stored.read_bytes())
    if damage == "cut":
        stored.write_bytes(data[:50])
    elif damage == "flipped":
        data[-3] ^= 1
        stored.write_bytes(data)
    else:
        stored.with_name(f"{stored.name}.sha256").unlink()
    capsys.readouterr()
    assert torch.equal(pooled_features(features, files), expected)
    assert f"{stored} does not fit its checksum; it is made again" in capsys.readouterr().out
    passes = features.passes
    pooled_features(features, files)
    assert features.passes == passes


def test_what_fails_leaves_nothing(features, files):
    files[3].write_bytes(b"no image")
    with pytest.raises(UserError, match=r"image .*3.png cannot be read"):
        pooled_features(features, files)
    assert not [*features.store.glob("*.safetensors")]
    files[3].unlink()
    files[3].symlink_to("nowhere.png")
    with pytest.raises(UserError, match=r"image .*3.png cannot be read \(No such file"):
        pooled_features(features, files)


def test_a_folder_that_cannot_be_written_is_left_alone(features, files, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert torch.equal(pooled_features(features, files), compute(features, files)) and not features.store.exists()
    head = torch.nn.Linear(compute(features, files).shape[1], 2)
    head(pooled_features(features, files)).sum().backward()  # they can be trained on
