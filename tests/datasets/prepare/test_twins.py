"""Images that stand in two splits, and colours that are another world than the encoder's."""

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.colours import far_from
from datasets.prepare.images import constants, look_of
from datasets.prepare.twins import twins
from tests.datasets.prepare.samples import manifest, save


def picture(seed: int) -> np.ndarray:
    """A smooth picture, as photographs are."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (80, 60), interpolation=cv2.INTER_CUBIC)


def test_copies_other_encodings_and_brighter_frames_are_found_and_others_are_not():
    first = [look_of(picture(seed)) for seed in range(40)]
    noisy = np.clip(picture(3).astype(int) + np.random.default_rng(0).normal(0, 4, (60, 80, 3)), 0, 255)
    coarse = cv2.imdecode(cv2.imencode(".jpg", picture(7), [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    smaller = cv2.resize(picture(9), (40, 30), interpolation=cv2.INTER_AREA)
    grey = np.full((60, 80, 3), 128, np.uint8)
    second = [picture(100), noisy.astype(np.uint8), picture(5), coarse, grey, smaller, 255 - picture(11)]
    assert twins(first, [look_of(image) for image in second]) == [(3, 1), (5, 2), (7, 3), (9, 5)]
    assert twins([*first, look_of(grey)], [look_of(grey)]) == [], "of one grey: nothing to compare"


def test_prepare_names_twins_and_keeps_colours(prepare, tmp_path):
    for split, seeds in (("train", (0, 1, 2)), ("val", (9, 1)), ("test", (8,))):
        for seed in seeds:
            save(tmp_path / f"mine/{split}/a/{seed}.png", picture(seed))
            save(tmp_path / f"mine/{split}/b/{seed}.png", 255 - picture(seed))
    screen = prepare("image-folder", tmp_path / "mine")
    assert "image that resembles one of another split: 2" in screen
    assert "data/mine/val/a/1.png (val) and data/mine/train/a/1.png (train)" in screen
    train = np.stack([np.array(Image.open(path)) for path in (tmp_path / "mine/train").rglob("*.png")]) / 255
    kept = manifest(tmp_path / "data/mine")["image"]
    np.testing.assert_allclose(kept["mean"], train.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(kept["std"], train.std((0, 1, 2)), atol=1e-4)
    root, encoder = tmp_path / "data/mine/train", {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert far_from(root, encoder) is None and far_from(tmp_path, encoder) is None
    assert "have the mean" in far_from(root, {**encoder, "mean": [0.05, 0.05, 0.05]})
    assert "deviation" in far_from(tmp_path / "data/mine", {**encoder, "std": [0.03, 0.03, 0.03]})


def test_constants_are_those_of_all_pixels():
    images = [picture(seed) for seed in range(3)]
    found = constants(map(look_of, images))
    assert found["mean"] == pytest.approx((np.stack(images) / 255).mean((0, 1, 2)), abs=1e-4)
    assert found["std"] == pytest.approx((np.stack(images) / 255).std((0, 1, 2)), abs=1e-4)
    assert constants([]) is None
