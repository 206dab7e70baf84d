"""ViTPyramid: maps against timm's and against hand-built ones, any size, and weights that survive mmengine."""

import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn import functional

from backbones import ViTPyramid, save_checkpoint
from backbones.layer_decay import layer_decay_groups
from backbones.vit_pyramid import default_taps
from engine.errors import UserError


def equal_to_file(encoder, stored):
    state = stored.state_dict()
    return all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())


def test_default_taps():
    assert default_taps(12) == (3, 5, 7, 11)
    assert default_taps(24) == (7, 11, 15, 23)
    assert default_taps(4) == (3, 3, 3, 3)
    assert default_taps(32) == (7, 15, 23, 31)


def test_maps_are_timms_own_taps_at_native_size(write):
    folder, stored = write()
    pyramid = ViTPyramid(str(folder)).eval()
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        last = stored.eval().forward_intermediates(image, indices=[3], intermediates_only=True)[0]
        maps = pyramid(image)
        torch.testing.assert_close(maps[0], pyramid.rescale[0](last))
        torch.testing.assert_close(maps[1], last)
        torch.testing.assert_close(maps[2], functional.max_pool2d(last, 2))
        torch.testing.assert_close(maps[3], functional.max_pool2d(last, 4))
    assert pyramid.out_channels == [96] * 4
    assert pyramid.out_strides == [4, 8, 16, 32]


def test_non_square_equals_tokens_and_positions_assembled_by_hand(write):
    folder, stored = write()
    stored.eval()
    image = torch.randn(1, 3, 40, 104)
    rows, columns = 5, 13
    grid = stored.pos_embed[0, 1:].T.reshape(1, 96, 8, 8)
    grid = functional.interpolate(grid, size=(rows, columns), mode="bicubic", antialias=True)
    with torch.no_grad():
        proj = stored.patch_embed.proj
        patches = functional.conv2d(image, proj.weight, proj.bias, stride=8).flatten(2).mT + grid.flatten(2).mT
        tokens = torch.cat([stored.cls_token + stored.pos_embed[:, :1], patches], dim=1)
        for block in stored.blocks:
            tokens = block(tokens)
        expected = tokens[:, 1:].mT.reshape(1, 96, rows, columns)
        torch.testing.assert_close(ViTPyramid(str(folder)).eval()(image)[1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (65, 120), (8, 8), (70, 101), (1, 200)])
def test_map_sizes_at_any_input_size(write, size):
    pyramid = ViTPyramid(str(write()[0])).eval()
    with torch.no_grad():
        maps = pyramid(torch.randn(2, 3, *size))
    assert [m.shape[-2:] for m in maps] == [
        (math.ceil(size[0] / stride), math.ceil(size[1] / stride)) for stride in (4, 8, 16, 32)
    ]


def test_padding_is_at_the_right_and_bottom_and_is_cut_off(write):
    pyramid = ViTPyramid(str(write()[0])).eval()
    image = torch.randn(1, 3, 61, 50)
    padded = torch.zeros(1, 3, 64, 56)
    padded[..., :61, :50] = image
    with torch.no_grad():
        for part, whole, stride in zip(pyramid(image), pyramid(padded), (4, 8, 16, 32), strict=True):
            assert torch.equal(part, whole[..., : math.ceil(61 / stride), : math.ceil(50 / stride)])


def test_odd_grids_keep_their_last_row_when_pooled(write):
    pyramid = ViTPyramid(str(write()[0])).eval()
    with torch.no_grad():
        taps = pyramid.encoder.forward_intermediates(torch.ones(1, 3, 40, 64), indices=[3], intermediates_only=True)[0]
        pooled = pyramid(torch.ones(1, 3, 40, 64))[2]
    assert pooled.shape[-2:] == (3, 4)
    torch.testing.assert_close(pooled[..., 2, 0], taps[..., 4, :2].amax(-1))


def test_a_patch_of_14_has_fractional_strides(write):
    kwargs = {"img_size": 70, "patch_size": 14, "embed_dim": 96, "depth": 4, "num_heads": 3}
    pyramid = ViTPyramid(str(write({"name": "vit_tiny_patch16_224", "kwargs": kwargs})[0])).eval()
    assert pyramid.out_strides == [3.5, 7, 14, 28]
    with torch.no_grad():
        assert [m.shape[-1] for m in pyramid(torch.zeros(1, 3, 75, 75))] == [22, 11, 6, 3]


def test_final_norm_is_applied_to_every_tap_only_on_request(write):
    folder, stored = write()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        tap = stored.eval().forward_intermediates(image, indices=[3], intermediates_only=True)[0]
        normed = stored.norm(tap.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(ViTPyramid(str(folder), final_norm=True).eval()(image)[1], normed)
    without = ViTPyramid(str(folder))
    assert not any(name.startswith("encoder.norm.") for name, _ in without.named_parameters())


@pytest.mark.parametrize("final_norm", [False, True])
def test_every_parameter_gets_a_gradient(write, final_norm):
    """Otherwise distributed training stops at the first step."""
    pyramid = ViTPyramid(str(write()[0]), taps=(0, 1, 2, 3), final_norm=final_norm)
    sum((m * torch.randn_like(m)).sum() for m in pyramid(torch.randn(2, 3, 64, 64))).backward()
    assert [name for name, parameter in pyramid.named_parameters() if parameter.grad is None] == []


def test_frozen_positions_stay_and_nothing_else(write):
    folder, stored = write()
    pyramid = ViTPyramid(str(folder), freeze_positions=True)
    pyramid.init_weights()
    before = {name: value.detach().clone() for name, value in pyramid.named_parameters()}
    groups = layer_decay_groups(nn.Sequential(pyramid), 0.1, 0.05, 0.9)
    optimizer = torch.optim.AdamW([{key: group[key] for key in ("params", "lr", "weight_decay")} for group in groups])
    sum((m * torch.randn_like(m)).sum() for m in pyramid(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    same = [name for name, value in pyramid.named_parameters() if torch.equal(value, before[name])]
    assert same == ["encoder.pos_embed"] and torch.equal(pyramid.encoder.pos_embed, stored.pos_embed)
    beit = dict(name="beit_base_patch16_224", kwargs=dict(img_size=64, embed_dim=24, depth=4, num_heads=2))
    with pytest.raises(UserError, match="no absolute positions to freeze"):
        ViTPyramid(str(write(beit)[0]), freeze_positions=True)


def test_blocks_behind_the_last_tap_are_left_out(write):
    kwargs = {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 3}
    folder, _ = write({"name": "vit_tiny_patch16_224", "kwargs": kwargs})
    assert len(ViTPyramid(str(folder), taps=(0, 1, 2, 4)).encoder.blocks) == 5


def test_drop_path_passes_through_and_replaces_the_stored_rate(write, tiny):
    tiny["kwargs"]["drop_path_rate"] = 0.4
    folder, _ = write(tiny)
    assert ViTPyramid(str(folder), drop_path_rate=0.2).encoder.blocks[3].drop_path1.drop_prob == pytest.approx(0.2)
    assert isinstance(ViTPyramid(str(folder)).encoder.blocks[3].drop_path1, torch.nn.Identity)


@pytest.mark.parametrize("taps", [(0, 1, 2), (0, 1, 2, 4), (3, 2, 1, 0), (1, 0, 2, 3), (-4, -3, -2, -1)])
def test_wrong_taps(write, taps):
    with pytest.raises(UserError, match=r"0\.\.3"):
        ViTPyramid(str(write()[0]), taps=taps)


def test_wrong_encoders(write):
    with pytest.raises(UserError, match="use HierarchicalPyramid"):
        ViTPyramid(str(write({"name": "resnet18", "kwargs": {}})[0]))
    relpos = {"name": "vit_relpos_small_patch16_224", "kwargs": {"depth": 4, "embed_dim": 48, "num_heads": 3}}
    with pytest.raises(UserError, match="pixels only"):
        ViTPyramid(str(write(relpos, "relpos")[0]))


def test_both_suites_find_it_by_name_and_init_weights_keeps_the_files_weights(write):
    import mmdet.registry
    import mmseg.models  # noqa: F401  registers the segmentor
    import mmseg.registry

    folder, stored = write()
    backbone = {"type": "ViTPyramid", "checkpoint": str(folder)}
    with DefaultScope.overwrite_default_scope("mmdet"):
        assert type(mmdet.registry.MODELS.build(ConfigDict(backbone))) is ViTPyramid
    head = {"num_classes": 8, "channels": 16, "norm_cfg": {"type": "BN"}, "align_corners": False}
    config = ConfigDict(
        type="EncoderDecoder",
        data_preprocessor={"type": "SegDataPreProcessor"},
        backbone=backbone,
        decode_head={"type": "UPerHead", "in_channels": [96] * 4, "in_index": [0, 1, 2, 3], **head},
        train_cfg={},
        test_cfg={"mode": "whole"},
        init_cfg={"type": "Constant", "layer": "Linear", "val": 0.5},
    )
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = mmseg.registry.MODELS.build(config)
        assert equal_to_file(model.backbone.encoder, stored)
        model.init_weights()  # what mmengine's Runner calls; the model's own init_cfg overwrites every Linear first
    assert equal_to_file(model.backbone.encoder, stored)
    with torch.no_grad():
        assert model.eval()(torch.randn(1, 3, 64, 96)).shape == (1, 8, 16, 24)


def test_init_weights_reads_the_file_not_a_memory_of_it(write, make_meta, randomised, tiny):
    folder, _ = write()
    pyramid = ViTPyramid(str(folder))
    parameters = dict(pyramid.named_parameters())
    other = randomised(**tiny, seed=5)
    save_checkpoint(folder, other, make_meta(tiny))
    pyramid.init_weights()
    assert equal_to_file(pyramid.encoder, other)
    assert all(parameter is parameters[name] for name, parameter in pyramid.named_parameters())
