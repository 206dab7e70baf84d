"""Small checkpoints with and without a text tower, and images with masks."""

import json

import cv2
import numpy as np
import pytest

from tests.recognition.conftest import clip, mae  # noqa: F401  fixtures


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """(folder of 5 images of 32 x 32, COCO file): in image k a bright square, category "cube" or "cone"."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for k in range(5):
        image = rng.integers(0, 100, (32, 32, 3), np.uint8)
        top, left, side = 4 * k, 20 - 4 * k, 8
        image[top : top + side, left : left + side] = 250
        cv2.imwrite(str(folder / f"{k}.png"), image)
        images.append({"id": k, "file_name": f"{k}.png", "height": 32, "width": 32})
        corners = [left, top, left + side, top, left + side, top + side, left, top + side]
        annotations.append({"id": k + 1, "image_id": k, "category_id": 1 + k % 2, "iscrowd": 0, "area": side * side,
                            "bbox": [left, top, side, side], "segmentation": [corners]})  # fmt: skip
    categories = [{"id": 1, "name": "cube"}, {"id": 2, "name": "cone"}]
    masks = tmp_path_factory.mktemp("masks") / "instances.json"
    masks.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return str(folder), str(masks)
