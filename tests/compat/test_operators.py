"""The fallback operators against plain float64 loops."""

import numpy as np
import pytest
import torch

from compat import mmcv_ext, roi_align, torchvision_ops
from tests.compat import operator_loops as loops


def make_boxes(seed, count, ties=False):
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 100, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0, 40, (count, 2))], axis=1).astype(np.float32)
    scores = random.random(count).astype(np.float32)
    if ties:
        scores = np.round(scores, 1)
        boxes[count // 2 :] = boxes[: count - count // 2]
    return boxes, scores


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 129, 400])
def test_nms_is_the_greedy_loop(count, ties, offset):
    boxes, scores = make_boxes(count, count, ties)
    for threshold in (0.1, 0.5, 0.7):
        expected = loops.nms(boxes.astype(float), scores, threshold, offset)
        kept = torchvision_ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold, offset)
        assert kept.dtype == torch.int64
        assert kept.tolist() == expected


def test_nms_keeps_empty_boxes_and_drops_only_above_the_threshold():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 5], [3, 3, 3, 3], [3, 3, 3, 3.0]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert torchvision_ops.nms(boxes, scores, 0.5).tolist() == [0, 1, 2, 3]  # IoU of the first two is 0.5 exactly
    assert torchvision_ops.nms(boxes, scores, 0.49).tolist() == [0, 2, 3]
    with pytest.raises(ValueError, match="boxes"):
        torchvision_ops.nms(boxes[:, :3], scores, 0.5)


def test_nms_compares_as_each_original_does():
    """IoU 3/10 in float32 is above 0.3 and equals its rounding: torchvision drops the box, mmcv keeps it."""
    boxes, scores = torch.tensor([[0, 0, 10, 1], [0, 0, 3, 1.0]]), torch.tensor([0.9, 0.8])
    assert torchvision_ops.nms(boxes, scores, 0.3).tolist() == [0]
    assert mmcv_ext.nms(boxes, scores, 0.3, 0).tolist() == [0, 1]


def make_rois(seed, count, images=2):
    """Inside, across and far outside a 96 x 80 image, without area, turned over, many samples per bin."""
    random = np.random.default_rng(seed)
    corner = random.uniform(-15, 80, (count, 2))
    rois = np.concatenate(
        [random.integers(0, images, (count, 1)), corner, corner + random.uniform(0, 60, (count, 2))], axis=1
    )
    special = [
        [0, -300, -300, -200, -200],
        [1, 90, 75, 400, 300],
        [0, 10, 10, 10, 40],
        [1, 20, 20, 20, 20],
        [0, 40, 40, 30, 20],
        [1, -8, -8, 104, 88],
        [0, 1, 1, 1.5, 1.25],
    ]
    return np.concatenate([rois, special]).astype(np.float32)


CASES = [
    (aligned, ratio, scale) for aligned in (True, False) for ratio in (0, 1, 2, 3) for scale in (1.0, 0.25, 0.0625)
]


def layer(scale):
    """A map [2, 3, H, W] of a 96 x 80 image at that scale."""
    return np.random.default_rng(7).normal(size=(2, 3, max(1, int(80 * scale)), max(1, int(96 * scale))))


@pytest.mark.parametrize(("aligned", "ratio", "scale"), CASES)
def test_roi_align_is_the_loop(aligned, ratio, scale):
    features, rois = layer(scale), make_rois(3, 5).astype(float)
    pooling = roi_align.Pooling((3, 4), scale, ratio, aligned)
    pooled = roi_align.forward(torch.from_numpy(features), torch.from_numpy(rois), pooling)
    expected = loops.roi_align(features, rois, (3, 4), scale, ratio, aligned)
    np.testing.assert_allclose(pooled, expected, atol=1e-9)
    gradient = np.random.default_rng(8).normal(size=expected.shape)
    spread = roi_align.backward(torch.from_numpy(gradient), torch.from_numpy(rois), features.shape, pooling)
    np.testing.assert_allclose(
        spread, loops.roi_align_gradient(gradient, rois, features.shape, scale, ratio, aligned), atol=1e-9
    )


@pytest.mark.parametrize(("aligned", "ratio", "scale"), CASES[1::2])
def test_roi_align_max_is_the_loop(aligned, ratio, scale):
    features, rois = layer(scale), make_rois(4, 4).astype(float)
    pooling = roi_align.Pooling((2, 3), scale, ratio, aligned)
    results = roi_align.forward_max(torch.from_numpy(features), torch.from_numpy(rois), pooling)
    expected = loops.roi_align_max(features, rois, (2, 3), scale, ratio, aligned)
    np.testing.assert_allclose(results[0], expected[0], atol=1e-9)
    gradient = np.random.default_rng(9).normal(size=expected[0].shape)
    spread = roi_align.backward_max(torch.from_numpy(gradient), torch.from_numpy(rois), *results[1:], features.shape)
    np.testing.assert_allclose(
        spread,
        loops.roi_align_max_gradient(gradient, rois, results[1].numpy(), results[2].numpy(), features.shape),
        atol=1e-9,
    )


def test_chunks_change_nothing(monkeypatch):
    features, rois = torch.from_numpy(layer(0.25)), torch.from_numpy(make_rois(5, 40).astype(float))
    pooling = roi_align.Pooling((7, 7), 0.25, 0, True)
    gradient = torch.randn(len(rois), 3, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def results():
        return [
            roi_align.forward(features, rois, pooling),
            roi_align.forward_max(features, rois, pooling)[0],
            roi_align.backward(gradient, rois, features.shape, pooling),
        ]

    whole = results()
    monkeypatch.setattr(roi_align, "_ENTRIES", 2000)
    for one, other in zip(whole, results(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_no_rois():
    pooling = roi_align.Pooling((7, 7), 0.25, 0, True)
    features, rois = torch.ones(2, 3, 20, 24), torch.zeros(0, 5)
    assert roi_align.forward(features, rois, pooling).shape == (0, 3, 7, 7)
    assert not roi_align.backward(torch.zeros(0, 3, 7, 7), rois, features.shape, pooling).any()
    assert [t.shape for t in roi_align.forward_max(features, rois, pooling)] == [(0, 3, 7, 7)] * 3
