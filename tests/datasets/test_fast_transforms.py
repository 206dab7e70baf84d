"""What is faster than mmseg's and mmdet's own transforms gives what they give, under the same random state."""

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmseg.datasets.transforms import PackSegInputs, PhotoMetricDistortion, RandomCrop

from datasets.detection import PackDet
from datasets.fast_transforms import CountedCrop, PackSeg, PhotoMetricTables

IMAGE = np.random.default_rng(0).integers(0, 256, (19, 23, 3), dtype=np.uint8)


def made(transform, seed, **results):
    np.random.seed(seed)
    return transform.transform({"img": IMAGE.copy(), **results})


def test_colours():
    for seed in range(40):
        pair = [made(kind(), seed)["img"] for kind in (PhotoMetricDistortion, PhotoMetricTables)]
        assert np.array_equal(*pair)


@pytest.mark.parametrize("ratio", [1.0, 0.9, 0.5, 0.3])
def test_crops(ratio):
    blocks = np.random.default_rng(1).choice([0, 1, 2, 255], (5, 6)).astype(np.uint8)
    labels = np.kron(blocks, np.ones((4, 4), np.uint8))[:19, :23]
    for seed in range(40):
        pair = [made(kind((7, 6), cat_max_ratio=ratio), seed, gt_seg_map=labels.copy(), seg_fields=["gt_seg_map"])
                for kind in (RandomCrop, CountedCrop)]  # fmt: skip
        assert np.array_equal(pair[0]["img"], pair[1]["img"]), seed
        assert np.array_equal(pair[0]["gt_seg_map"], pair[1]["gt_seg_map"])


@pytest.mark.parametrize("kinds", [(PackSegInputs, PackSeg), (PackDetInputs, PackDet)])
@pytest.mark.parametrize("flipped", [False, True])
def test_packing(kinds, flipped):
    image = IMAGE[:, ::-1] if flipped else IMAGE
    sizes = {"ori_shape": (19, 23), "img_shape": (19, 23), "img_path": "x.png", "img_id": 3, "scale_factor": (1.0, 1.0),
             "flip": flipped, "flip_direction": "horizontal", "gt_seg_map": IMAGE[..., 0].copy()}  # fmt: skip
    theirs, ours = (kind().transform({"img": image, **sizes}) for kind in kinds)
    assert torch.equal(theirs["inputs"], ours["inputs"]) and ours["inputs"].is_contiguous()
    assert ours.keys() == theirs.keys() and ours["data_samples"].metainfo == theirs["data_samples"].metainfo
