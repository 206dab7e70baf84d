"""A folder of four images, which COCO files of `coco_samples` annotate."""

import pytest
from PIL import Image

from tests.datasets.coco_samples import SIZE


@pytest.fixture
def coco_folder(tmp_path):
    root = tmp_path / "set"
    (root / "test").mkdir(parents=True)
    for k in range(1, 5):
        Image.new("RGB", SIZE[::-1], (40 * k, 0, 0)).save(root / f"test/{k}.png")
    return root
