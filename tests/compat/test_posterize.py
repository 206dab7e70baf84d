"""RandAugment's strongest posterisation is a black image, not an error."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from timm.data.auto_augment import AugmentOp


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8))


@pytest.mark.parametrize("bits", range(9))
def test_the_highest_bits_are_kept(image, bits):
    expected = np.asarray(image).astype(int) // 2 ** (8 - bits) * 2 ** (8 - bits)
    assert np.array_equal(np.asarray(ImageOps.posterize(image, bits)), expected)


def test_timm_asks_for_no_bits_at_its_highest_level(image):
    assert not np.asarray(AugmentOp("PosterizeIncreasing", prob=1.0, magnitude=10)(image)).any()
