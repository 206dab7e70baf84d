"""Colours and views: each edit against a plain computation, draws from numpy alone, shared windows."""

import colorsys

import cv2
import numpy as np
import pytest
import torch

from engine.errors import UserError
from pretrain.data.augment import ColourJitter, View
from pretrain.data.dataset import ImageFolder, ImageTextShards, decode_image
from pretrain.tokenizer.cache import ensure_token_cache

OFF = dict(jitter_p=0.0, grey_p=0.0, blur_p=0.0, solarise_p=0.0)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def grey(pixel) -> float:
    return 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]


def draws(jitter: ColourJitter, image: np.ndarray, monkeypatch, factors, turn=0.0, order=(0, 1, 2, 3)) -> np.ndarray:
    values = iter([*factors, turn])
    monkeypatch.setattr(np.random, "uniform", lambda low, high: next(values))
    monkeypatch.setattr(np.random, "permutation", lambda n: order)
    return jitter.jittered(image)


def test_brightness_contrast_saturation_by_loops(image, monkeypatch):
    jitter = ColourJitter(jitter=(0.4, 0.4, 0.4, 0.0))
    mean = np.mean([grey(p) for p in image.reshape(-1, 3).astype(float)])
    for factors, expected in [
        ((0.7, 1, 1), lambda p: 0.7 * p),
        ((1, 1.3, 1), lambda p: 1.3 * p - 0.3 * mean),
        ((1, 1, 0.6), lambda p: 0.6 * p + 0.4 * grey(p)),
    ]:
        found = draws(jitter, image, monkeypatch, factors)
        for pixel, result in zip(image.reshape(-1, 3).astype(float), found.reshape(-1, 3), strict=True):
            np.testing.assert_allclose(result, np.clip(expected(pixel), 0, 255), atol=1.6)


def test_hue_turns_the_circle(image, monkeypatch):
    found = draws(ColourJitter(), image, monkeypatch, (1, 1, 1), turn=0.25)
    for pixel, result in zip(image.reshape(-1, 3) / 255, found.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        expected = np.array(colorsys.hsv_to_rgb((h + 0.25) % 1, s, v)) * 255
        np.testing.assert_allclose(result, expected, atol=8)  # OpenCV keeps hue in 256 steps


def test_grey_and_solarise(image):
    out = ColourJitter(**{**OFF, "grey_p": 1.0})(image)
    assert (out[..., 0] == out[..., 1]).all() and (out[..., 1] == out[..., 2]).all()
    out = ColourJitter(**{**OFF, "solarise_p": 1.0})(image)
    assert (out == np.where(image < 128, image, 255 - image)).all() and out.dtype == np.uint8
    assert (ColourJitter(**OFF)(image) == image).all()


def test_blur_smooths_in_proportion_to_the_size():
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 255
    out = ColourJitter(**{**OFF, "blur_p": 1.0}, sigma=(2.0, 2.0))(edge)
    assert 0 < out[32, 31, 0] < 255 and out[32, 20, 0] == 0  # sigma 2 of 224 pixels is 0.57 of 64


def test_probability_of_each_edit(image):
    np.random.seed(3)
    jitter = ColourJitter(**{**OFF, "solarise_p": 0.2})
    share = np.mean([not np.array_equal(jitter(image), image) for _ in range(2000)])
    assert abs(share - 0.2) < 0.03


def test_views_of_a_sample(shards):
    views = dict(
        image=dict(scale=(0.3, 1.0)),
        pixels=dict(of="image", size=16),
        image_local=dict(size=8, count=3, scale=(0.05, 0.3), colour={}),
    )
    data = ImageTextShards(str(shards), 32, views=views)
    np.random.seed(5)
    item = data[2]
    assert item["image"].shape == (3, 32, 32) and item["pixels"].shape == (3, 16, 16)
    assert item["image_local"].shape == (3, 3, 8, 8) and item["image_local"].dtype == torch.uint8
    assert not torch.equal(item["image_local"][0], item["image_local"][1])
    small = torch.nn.functional.avg_pool2d(item["image"].float(), 2)
    assert (small - item["pixels"].float()).abs().mean() < 6, "not the same window"
    np.random.seed(5)
    again = data[2]
    assert all(torch.equal(again[name], item[name]) for name in views)


def test_colours_of_the_whole_image_are_shared_by_its_views(shards):
    whole = dict(scale=(1, 1), ratio=(1.2, 1.2), flip=0.0)
    views = dict(image=dict(size=40, **whole), pixels=dict(of="image", size=40, **whole))
    colour = dict(jitter=(0.4, 0.4, 0.4, 0.0), jitter_p=1.0, grey_p=0.0, blur_p=0.0)
    plain = ImageTextShards(str(shards), 40, views=views)
    data = ImageTextShards(str(shards), 40, views=views, colour=colour)
    np.random.seed(0)
    first, second, same = data[3], data[3], plain[3]
    for item in (first, second, same):
        assert torch.equal(item["image"], item["pixels"])
    assert not torch.equal(first["image"], second["image"]) and not torch.equal(first["image"], same["image"])
    np.random.seed(0)
    drawn = ColourJitter(**colour)(decode_image(data.reader.read(3, 0)))
    expected, _ = View(40, **whole)(drawn)
    assert torch.equal(first["image"], expected), "before the crop"


def test_colours_of_the_whole_image_are_refused_where_they_would_be_lost(shards, tmp_path):
    with pytest.raises(UserError, match="both reinforcement and colour"):
        ImageTextShards(str(shards), 40, captions="noisy", colour={}, reinforcement="stored")
    with pytest.raises(UserError, match="colour is drawn anew each time: drop one"):
        views = dict(image={}, pixels=dict(of="image"))
        ensure_token_cache({}, dict(size=40, root=str(shards), views=views, colour=dict(blur_p=1.0)))
    (tmp_path / "one").mkdir()
    cv2.imwrite(str(tmp_path / "one" / "a.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="both transform and colour"):
        ImageFolder(str(tmp_path), 4, transform={}, colour={})


def test_mixed_captions_draw_uniformly(shards):
    from backbones.text import tokenize
    from datasets.shards import read_captions
    from tests.pretrain.samples import make_sample

    data = ImageTextShards(str(shards), 32, captions="noisy+aligned", context=16)
    found = read_captions(*(make_sample(4)[part] for part in ("txt", "json")))
    rows = {name: tokenize(found[name], 16).tolist() for name in ("noisy", "aligned")}
    np.random.seed(0)
    drawn = [data[4]["tokens"].tolist() for _ in range(200)]
    share = np.mean([row == rows["noisy"] for row in drawn])
    assert all(row in rows.values() for row in drawn) and abs(share - 0.5) < 0.12


def test_view_counts_only_where_asked():
    image = np.zeros((8, 8, 3), np.uint8)
    assert View(4)(image)[0].shape == (3, 4, 4) and View(4, count=1)(image)[0].shape == (1, 3, 4, 4)
