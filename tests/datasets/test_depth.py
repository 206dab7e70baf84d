"""Depth folders: values in metres, and one line for every fault."""

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

import datasets.depth  # noqa: F401
from engine.errors import UserError
from tests.datasets.prepare.samples import save

PIPELINE = [{"type": "LoadImageStrict"}, {"type": "LoadDepth"}]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        save(tmp_path / f"images/train/{name}.png", rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        save(tmp_path / f"depth/train/{name}.png", rng.integers(0, 9000, (6, 8), dtype=np.uint16))
    return tmp_path


def build(folder, **changes):
    arguments = {"data_root": str(folder), "images": "images/train", "depths": "depth/train", "pipeline": PIPELINE}
    with DefaultScope.overwrite_default_scope("mmseg"):
        return DATASETS.build({"type": "DepthFolder", **arguments, **changes})


def refusal(call):
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("scale", [1000.0, 256.0, 5000.0])
def test_values_are_metres(folder, scale):
    sample = build(folder, depth_scale=scale)[1]
    stored = np.array(Image.open(folder / "depth/train/b.png"))
    assert stored.dtype == np.uint16
    assert sample["gt_depth_map"].dtype == np.float32
    np.testing.assert_allclose(sample["gt_depth_map"], stored.astype(np.float64) / scale, rtol=1e-6)


def test_sixteen_bits_survive(folder):
    save(folder / "depth/train/a.png", np.full((6, 8), 65535, np.uint16))
    assert build(folder)[0]["gt_depth_map"].max() == pytest.approx(65.535)


def test_tiff_is_read_too(folder):
    (folder / "depth/train/a.png").unlink()
    save(folder / "depth/train/a.tiff", np.full((6, 8), 1234, np.uint16))
    assert build(folder)[0]["gt_depth_map"][0, 0] == pytest.approx(1.234)


@pytest.mark.parametrize("part", ["images/train", "depth/train"])
def test_missing_folder(folder, part):
    (folder / part).rename(folder / "elsewhere")
    assert f"{folder / part}: no such folder" in refusal(lambda: build(folder))


def test_counts_that_differ(folder):
    (folder / "depth/train/a.png").unlink()
    message = refusal(lambda: build(folder))
    assert "images/train/a.png: no label" in message and "(1 such files beside 1 pairs)" in message


def test_unreadable_depth(folder):
    path = folder / "depth/train/a.png"
    path.write_bytes(path.read_bytes()[:60])
    assert f"{path} cannot be read" in refusal(lambda: build(folder)[0])


def test_eight_bit_depth(folder):
    save(folder / "depth/train/a.png", np.full((6, 8), 200, np.uint8))
    message = refusal(lambda: build(folder)[0])
    assert "depth/train/a.png: holds uint8" in message and "16-bit" in message


def test_depth_in_colour(folder):
    save(folder / "depth/train/a.png", np.zeros((6, 8, 3), np.uint8))
    assert "3 channels" in refusal(lambda: build(folder)[0])


def test_depth_of_another_size(folder):
    save(folder / "depth/train/a.png", np.full((8, 6), 900, np.uint16))
    assert "is 6x8 but its image" in refusal(lambda: build(folder)[0])


def test_map_without_a_measurement(folder):
    save(folder / "depth/train/a.png", np.zeros((6, 8), np.uint16))
    message = refusal(lambda: build(folder)[0])
    assert "depth/train/a.png: no pixel between" in message and "depth_scale" in message


def test_map_beyond_the_range(folder):
    save(folder / "depth/train/a.png", np.full((6, 8), 20000, np.uint16))
    assert build(folder, max_depth=80.0)[0]["gt_depth_map"].max() == 20
    message = refusal(lambda: build(folder, max_depth=10.0)[0])
    assert "no pixel between 0.001 m and 10.0 m" in message and "20000" in message


@pytest.mark.parametrize("wrong", [{"depth_scale": 0.0}, {"depth_scale": -1.0}, {"max_depth": 0.0}])
def test_impossible_units(folder, wrong):
    assert "correct the data section" in refusal(lambda: build(folder, **wrong))


def test_transforms_move_image_and_depth_together(tmp_path):
    # The depth in millimetres is 100 x column + row + 1, and the image says the same in two channels.
    rows, columns = np.mgrid[0:12, 0:16]
    save(tmp_path / "images/train/a.png", np.stack([columns, rows, rows * 0], -1).astype(np.uint8))
    save(tmp_path / "depth/train/a.png", (100 * columns + rows + 1).astype(np.uint16))
    for seed in range(8):
        np.random.seed(seed)
        pipeline = [*PIPELINE, {"type": "RandomCrop", "crop_size": (5, 6)}, {"type": "RandomFlip", "prob": 0.5},
                    {"type": "PackSegInputs"}]  # fmt: skip
        packed = build(tmp_path, pipeline=pipeline)[0]
        blue, green, red = packed["inputs"].double().numpy()
        depth = packed["data_samples"].gt_depth_map.data.double().numpy()
        assert packed["inputs"].shape == (3, 5, 6) and depth.shape == (1, 5, 6)
        np.testing.assert_allclose(depth[0] * 1000, 100 * red + green + 1, atol=1e-3)


def test_resize_never_mixes_depths(folder):
    save(folder / "depth/train/a.png", np.where(np.arange(48).reshape(6, 8) % 2, 1000, 9000).astype(np.uint16))
    pipeline = [*PIPELINE, {"type": "Resize", "scale": (13, 11)}, {"type": "PackSegInputs"}]
    packed = build(folder, pipeline=pipeline)[0]
    assert packed["inputs"].shape == (3, 11, 13)
    assert set(packed["data_samples"].gt_depth_map.data.unique().tolist()) == {1.0, 9.0}
