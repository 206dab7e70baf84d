"""Stored maps of a frozen encoder: what the adapter gives, computed once, of every kind of encoder and any size."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from backbones import build_encoder, save_checkpoint
from backbones.patch_maps import PatchMaps, quarters
from engine.errors import UserError
from probes import features as store
from probes.features import Rows, computed, narrow, stored_maps
from tests.checkpoints import META

SIZE = (24, 40)


@pytest.fixture
def files(tmp_path):
    """Five images of noise of several sizes, one of them SIZE."""
    rng = np.random.default_rng(0)
    for k, (height, width) in enumerate([SIZE, (32, 32), (50, 20), SIZE, (30, 60)]):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / f"{k}.png")
    return sorted(tmp_path.glob("*.png"))


@pytest.fixture
def part(mae, tmp_path):
    shutil.copytree(mae, tmp_path / "run" / "checkpoint")
    return PatchMaps(tmp_path / "run" / "checkpoint")


def test_the_map_is_the_encoders_last_block_behind_its_norm(part, files):
    maps = computed(part, files, SIZE, "last")
    assert maps.shape == (5, 24, 3, 5) and maps.dtype == torch.float16  # the encoder's width, patches of 8
    encoder = part.model.encoder
    mean, std = (torch.tensor(part.meta["image"][key])[:, None, None] for key in ("mean", "std"))
    for k in (0, 3):  # stored at SIZE, so that nothing is resized
        pixels = torch.from_numpy(np.array(Image.open(files[k]))).permute(2, 0, 1).double() / 255
        tokens = encoder.double().forward_features(((pixels - mean) / std)[None])[0, encoder.num_prefix_tokens :]
        torch.testing.assert_close(maps[k].double(), tokens.T.reshape(24, 3, 5), atol=5e-3, rtol=1e-3)
        encoder.float()


def test_four_taps_of_a_vit_and_of_stages(part, tmp_path):
    assert [quarters(depth) for depth in (12, 24, 4, 2)] == [
        (2, 5, 8, 11), (5, 11, 17, 23), (0, 1, 2, 3), (0, 0, 0, 1)]  # fmt: skip
    images = torch.randint(256, (2, 3, *SIZE), dtype=torch.uint8)
    four, last = part.maps(images, "four"), part.maps(images, "last")
    assert four.shape == (2, 96, 3, 5) and torch.equal(four[:, 72:], last)
    with pytest.raises(UserError, match="the taps 'last' or 'four', not 'all'"):
        part.maps(images, "all")

    torch.manual_seed(0)
    save_checkpoint(tmp_path / "cnn", build_encoder("resnet10t", {}), {**META, "method": "cnn", "captions": None,
                    "encoder": {"name": "resnet10t", "kwargs": {}}, "text": None,
                    "image": {"mean": [0.5] * 3, "std": [0.2] * 3, "size": 64}})  # fmt: skip
    cnn, images = PatchMaps(tmp_path / "cnn"), torch.randint(256, (1, 3, 64, 96), dtype=torch.uint8)
    assert cnn.maps(images, "last").shape == (1, 512, 2, 3)
    four = cnn.maps(images, "four")
    assert four.shape == (1, 64 + 128 + 256 + 512, 4, 6)  # the grid of stride 16
    stages = cnn.model(cnn.preprocessor.normalise(images))
    assert torch.equal(four[:, 192:448], stages[2]), "the third map is taken as it is"
    assert stages[0].shape[-2:] == (16, 24) and abs(four[:, :64].mean() - stages[0].mean()) < 0.02


def test_maps_are_computed_once_and_damage_is_mended(part, files, capsys, monkeypatch):
    passes = []
    part.model.register_forward_hook(lambda *_: passes.append(1))
    monkeypatch.setattr(store, "CHUNK", 3)
    expected = computed(part, files, SIZE, "last")
    first = stored_maps(part, files, SIZE, "last").take(range(5)).clone()
    counted = len(passes)
    again = stored_maps(part, files, SIZE, "last")
    assert len(passes) == counted and len(again) == 5 and again.shape == (24, 3, 5)
    assert torch.equal(again.take([4, 0]), first[[4, 0]])
    torch.testing.assert_close(first, expected.float())
    assert torch.equal(torch.cat([*again.blocks(2)]), first)
    assert len([*part.store.glob("maps-*.safetensors")]) == 2, "a file for three images, and one for two"
    for size, taps in ((SIZE, "four"), ((32, 32), "last")):  # are others
        before = len(passes)
        assert stored_maps(part, files, size, taps).shape != again.shape and len(passes) > before

    damaged = sorted(part.store.glob("maps-*.safetensors"))
    for path in damaged:
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    assert torch.equal(stored_maps(part, files, SIZE, "last").take(range(5)), first)
    assert capsys.readouterr().out.count("does not fit its checksum; it is made again") == 2
    files[1].write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1\.png cannot be read"):
        stored_maps(part, files, SIZE, "last")


def test_numbers_beyond_float16_are_kept_as_they_are():
    small, large = torch.tensor([[1.0, -3.5]]), torch.tensor([[1.0, 1e5]])
    assert narrow(small).dtype == torch.float16 and torch.equal(narrow(large), large)
    assert torch.equal(Rows([large]).take([0]), large)
