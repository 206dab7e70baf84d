"""The fallback operators against torchvision's compiled ones, whose answers `make_fixtures.py` wrote elsewhere."""

import numpy as np
import pytest
import torch

from compat import mmcv_ext, roi_align, torchvision_ops
from tests.compat import make_fixtures as fixtures


@pytest.fixture(scope="module")
def truth():
    with np.load(fixtures.PATH) as file:
        return {key: file[key] for key in file.files}


def test_the_file_is_whole_and_small(truth):
    assert fixtures.PATH.stat().st_size <= 1 << 20
    assert len(truth) == 1 + 2 * len(fixtures.NMS_CASES) + 3 * len(fixtures.ROI_CASES)
    assert "torchvision" in str(truth["versions"])


@pytest.mark.parametrize("case", fixtures.NMS_CASES, ids=str)
def test_nms_keeps_the_same_boxes_in_the_same_order(truth, case):
    inputs = fixtures.nms_inputs(*case)
    assert fixtures.checksum(inputs) == truth[fixtures.name("nms", *case, "inputs")]
    kept = torchvision_ops.nms(*map(torch.from_numpy, inputs), case[2])
    np.testing.assert_array_equal(kept, truth[fixtures.name("nms", *case)])


@pytest.mark.parametrize("case", fixtures.ROI_CASES, ids=str)
def test_roi_align_pools_and_spreads_the_same(truth, case):
    aligned, ratio, scale, bins, _, _ = case
    inputs = fixtures.roi_inputs(*case)
    assert fixtures.checksum(inputs) == truth[fixtures.name("roi", *case, "inputs")]
    features, rois, gradient = map(torch.from_numpy, inputs)
    pooling = roi_align.Pooling(bins, scale, ratio, aligned)
    pooled = roi_align.forward(features, rois, pooling).numpy()
    np.testing.assert_allclose(fixtures.shorten(pooled), truth[fixtures.name("roi", *case, "pooled")], atol=5e-6)
    spread = roi_align.backward(gradient, rois, tuple(features.shape), pooling)
    expected = truth[fixtures.name("roi", *case, "gradient")]
    np.testing.assert_allclose(spread, expected, atol=5e-6 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("case", fixtures.ROI_CASES[:4], ids=str)
def test_mmcv_operators_give_the_same(truth, case):
    """Through mmcv's own calling convention, whichever path serves on this machine."""
    aligned, ratio, scale, bins, _, _ = case
    features, rois, gradient = map(torch.from_numpy, fixtures.roi_inputs(*case))
    layer = {
        "aligned_height": bins[0],
        "aligned_width": bins[1],
        "spatial_scale": scale,
        "sampling_ratio": ratio,
        "pool_mode": 1,
        "aligned": aligned,
    }
    pooled, spread, none = torch.zeros_like(gradient), torch.zeros_like(features), torch.zeros(0)
    mmcv_ext.roi_align_forward(features, rois, pooled, none, none, **layer)
    mmcv_ext.roi_align_backward(gradient, rois, none, none, spread, **layer)
    np.testing.assert_allclose(pooled, truth[fixtures.name("roi", *case, "pooled")], atol=5e-6)
    np.testing.assert_allclose(spread, truth[fixtures.name("roi", *case, "gradient")], atol=5e-5)
