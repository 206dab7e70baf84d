"""Small checkpoints with and without a text tower, and images with masks."""

import json

import cv2
import numpy as np
import pytest

from backbones import save_checkpoint
from tests.analysis.test_attention import SMALL, randomised
from tests.checkpoints import META


@pytest.fixture(scope="session")
def lively(tmp_path_factory):
    """(folder, encoder): heads and layers of this ViT attend in clearly different ways."""
    encoder = randomised("vit_tiny_patch16_224", SMALL)
    image = {"size": 32, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1]}
    meta = {**META, "method": "mae", "captions": None, "text": None, "image": image,
            "encoder": {"name": "vit_tiny_patch16_224", "kwargs": SMALL}}  # fmt: skip
    folder = tmp_path_factory.mktemp("lively") / "checkpoint"
    save_checkpoint(folder, encoder, meta)
    return folder, encoder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """(folder of 5 images of 32 x 32, COCO file): a bright square in each, "cube" or "cone", and in the first both."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    images, annotations, side = [], [], 8
    for k in range(5):
        image = rng.integers(0, 100, (32, 32, 3), np.uint8)
        for top, left, category in [(4 * k, 20 - 4 * k, 1 + k % 2)] + [(20, 2, 2)] * (k == 0):
            image[top : top + side, left : left + side] = 250
            corners = [left, top, left + side, top, left + side, top + side, left, top + side]
            annotations.append({"id": len(annotations) + 1, "image_id": k, "category_id": category, "iscrowd": 0,
                                "area": side * side, "bbox": [left, top, side, side],
                                "segmentation": [corners]})  # fmt: skip
        cv2.imwrite(str(folder / f"{k}.png"), image)
        images.append({"id": k, "file_name": f"{k}.png", "height": 32, "width": 32})
    categories = [{"id": 1, "name": "cube"}, {"id": 2, "name": "cone"}]
    masks = tmp_path_factory.mktemp("masks") / "instances.json"
    masks.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return str(folder), str(masks)
