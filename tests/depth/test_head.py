"""The depth head: sizes at every stride, its recipe, SILog against a plain float64 computation."""

import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from depth.head import DepthHead, fit_to, upsampling_plan
from depth.loss import silog_loss


@pytest.mark.parametrize(
    ("stride", "plan"), [(4, (2, [])), (8, (3, [])), (14, (3, [1.75])), (16, (3, [2.0])), (32, (3, [2.0, 2.0]))]
)
def test_plan_has_three_deconvolutions_and_the_rest_bilinear(stride, plan):
    assert upsampling_plan(stride) == plan
    head = DepthHead(in_channels=12, feature_stride=stride, embed_dim=8)
    deconvs = [m for m in head.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert len(deconvs) == plan[0]
    assert all(d.kernel_size == d.stride == (2, 2) and d.bias is None and d.out_channels == 32 for d in deconvs)


@pytest.mark.parametrize("stride", [4, 8, 14, 16, 32])
@pytest.mark.parametrize("grid", [(2, 3), (3, 5), (7, 2)])
def test_output_has_the_input_size_and_range(stride, grid):
    head = DepthHead(in_channels=6, feature_stride=stride, in_index=2, embed_dim=4, max_depth=7.0)
    maps = [torch.randn(2, c, *grid) for c in (3, 4, 6, 5)]
    depth = head(maps)
    assert depth.shape == (2, 1, grid[0] * stride, grid[1] * stride)
    assert depth.min() > 0 and depth.max() < 7


def test_reads_only_the_map_of_its_index():
    head = DepthHead(in_channels=6, feature_stride=8, in_index=2, embed_dim=4).eval()
    maps = [torch.randn(1, 6, 3, 3) for _ in range(4)]
    before = head(maps)
    assert torch.equal(before, head([maps[0] + 1, maps[1] + 1, maps[2], maps[3] + 1]))
    assert not torch.equal(before, head([maps[0], maps[1], maps[2] + 1, maps[3]]))


@pytest.mark.parametrize(("height", "width"), [(61, 70), (64, 64), (66, 59)])
def test_odd_inputs_keep_the_upper_left_corner(height, width):
    head = DepthHead(in_channels=6, feature_stride=8, in_index=0, embed_dim=4).eval()
    maps = (torch.randn(2, 6, 8, 8),)
    whole = head(maps)
    meta = {"img_shape": (height, width), "ori_shape": (height, width)}
    depth = head.predict(maps, [meta, meta], {})
    assert depth.shape == (2, 1, height, width)
    h, w = min(height, 64), min(width, 64)
    assert torch.equal(depth[..., :h, :w], whole[..., :h, :w])
    assert torch.equal(depth[..., h:, :w], whole[..., -1:, :w].expand(2, 1, height - h, w))  # replicated edge


def test_padded_batches_are_predicted_at_their_padded_size():
    head = DepthHead(in_channels=6, feature_stride=8, in_index=0, embed_dim=4)
    meta = {"img_shape": (30, 40), "pad_shape": (32, 48), "ori_shape": (30, 40)}
    assert head.predict((torch.randn(1, 6, 4, 6),), [meta], {}).shape == (1, 1, 32, 48)
    window = {"img_shape": torch.Size([32, 32]), "pad_shape": (32, 48), "ori_shape": (30, 40)}
    assert head.predict((torch.randn(1, 6, 4, 4),), [window], {}).shape == (1, 1, 32, 32)


def test_fit_to_is_the_identity_on_equal_sizes():
    x = torch.randn(1, 1, 4, 5)
    assert torch.equal(fit_to(x, 4, 5), x)


def test_initial_weights_follow_the_recipe():
    torch.manual_seed(0)
    head = DepthHead(in_channels=96, feature_stride=16, embed_dim=64)
    head.init_weights()
    for module in head.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if module.weight.numel() > 1000:  # enough draws to estimate a deviation
                assert module.weight.std().item() == pytest.approx(1e-3, rel=0.1)
            assert module.weight.abs().max() < 6e-3
            assert module.bias is None or not module.bias.any()
    depth = head((torch.randn(1, 96, 2, 2),) * 4)
    assert torch.allclose(depth, torch.full_like(depth, 5.0), atol=0.1)  # half of the range


def silog_by_hand(prediction, target, max_depth):
    g = [
        math.log(t) - math.log(p)
        for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True)
        if 1e-3 < t < max_depth
    ]
    return math.sqrt(sum(x * x for x in g) / len(g) - 0.5 * (sum(g) / len(g)) ** 2)


def test_silog_of_a_two_by_two_example():
    # g = ln 2, 0, 0 on the three valid pixels: mean square (ln 2)^2 / 3, mean ln 2 / 3.
    target = torch.tensor([[2.0, 3.0], [0.0, 4.0]])
    prediction = torch.tensor([[1.0, 3.0], [9.0, 4.0]])
    expected = math.log(2) * math.sqrt(1 / 3 - 0.5 / 9)
    assert silog_loss(prediction, target, 10.0).item() == pytest.approx(expected, rel=1e-6)


def test_silog_pools_the_batch_and_skips_invalid_pixels():
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(3, 1, 5, 7, generator=generator) * 12 - 1  # some below 1e-3, some beyond 10
    prediction = torch.rand(3, 1, 5, 7, generator=generator) * 9 + 0.5
    expected = silog_by_hand(prediction, target, 10.0)
    assert silog_loss(prediction, target, 10.0).item() == pytest.approx(expected, rel=1e-5)
    changed = torch.where((target > 1e-3) & (target < 10), prediction, torch.full_like(prediction, 1e-9))
    assert silog_loss(changed, target, 10.0) == silog_loss(prediction, target, 10.0)


def test_silog_halves_the_price_of_a_global_scale():
    target = torch.rand(64) * 5 + 1
    assert silog_loss(target * 1.5, target, 10.0).item() == pytest.approx(math.log(1.5) * math.sqrt(0.5), rel=1e-5)


def test_silog_has_finite_gradients_at_its_edges():
    for prediction, target in [
        (torch.full((4,), 2.0), torch.full((4,), 2.0)),  # exact fit
        (torch.full((4,), 2.0), torch.zeros(4)),  # nothing valid
        (torch.zeros(4), torch.full((4,), 2.0)),  # an underflowed sigmoid
    ]:
        prediction.requires_grad_(True)
        loss = silog_loss(prediction, target, 10.0)
        loss.backward()
        assert loss.isfinite() and prediction.grad.isfinite().all()
    assert silog_loss(torch.ones(4), torch.zeros(4), 10.0).item() == pytest.approx(0, abs=1e-5)


@MODELS.register_module()
class _Grid(nn.Module):
    """Stand-in encoder: four maps of which index 2 has stride 8."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, stride=8)

    def forward(self, x):
        return (x, x, self.patches(x), x)


def test_trains_and_predicts_inside_the_depth_estimator():
    config = ConfigDict(
        type="DepthEstimator",
        data_preprocessor={"type": "SegDataPreProcessor", "size_divisor": 1, "seg_pad_val": 0},
        backbone={"type": "_Grid"},
        decode_head={"type": "DepthHead", "in_channels": 6, "feature_stride": 8, "in_index": 2, "embed_dim": 8},
        test_cfg={"mode": "whole"},
    )
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(config)
    model.init_weights()

    def batch(count, size):
        samples = []
        for _ in range(count):
            sample = SegDataSample(gt_depth_map=PixelData(data=torch.rand(1, *size) * 5 + 0.5))
            sample.set_metainfo({"img_shape": size, "ori_shape": (50, 30), "img_path": "a.png"})
            samples.append(sample)
        return {"inputs": [torch.rand(3, *size) for _ in samples], "data_samples": samples}

    losses = model(**model.data_preprocessor(batch(3, (27, 33)), True), mode="loss")
    assert list(losses) == ["decode.loss_silog"]
    losses["decode.loss_silog"].backward()
    assert all(p.grad is not None for p in model.decode_head.parameters())
    model.eval()
    results = model(**model.data_preprocessor(batch(2, (27, 33)), False), mode="predict")
    assert [tuple(r.pred_depth_map.data.shape) for r in results] == [(1, 50, 30)] * 2
