"""Pooled features against plain computations, frozen encoders, and layer decay of classifiers."""

import copy

import pytest
import torch
from mmengine.config import Config
from torch import nn

from backbones import PooledEncoder, all_tokens, describe_encoder, fill_encoder_parts, layer_decay_groups, load_encoder
from engine.errors import UserError

VIT = {"name": "vit_tiny_patch16_224",
       "kwargs": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}}  # fmt: skip
BEIT = {"name": "beit_base_patch16_224",
        "kwargs": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2,
                   "use_shared_rel_pos_bias": True, "use_rel_pos_bias": False, "use_abs_pos_emb": False}}  # fmt: skip
RESNET = {"name": "resnet10t", "kwargs": {}}
MOBILENET = {"name": "mobilenetv3_small_050", "kwargs": {}}  # whose head widens the last map


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("encoder", [VIT, BEIT, RESNET, MOBILENET], ids=lambda e: e["name"])
def test_own_pooling_is_the_encoders(write, images, encoder):
    folder, module = write(encoder)
    pooled = PooledEncoder(str(folder)).eval()
    found, expected = pooled(images), module.eval()(images)
    torch.testing.assert_close(found, expected)
    assert pooled.out_channels == [expected.shape[1]]


def test_the_mean_of_patches_by_hand(write, images):
    folder, _ = write(VIT)
    pooled = PooledEncoder(str(folder), pool="mean").eval()
    encoder, _, _ = load_encoder(folder)
    encoder.norm = nn.Identity()
    with torch.no_grad():
        tokens = encoder.eval().forward_features(images).double()
        nn.init.normal_(pooled.norm.weight), nn.init.normal_(pooled.norm.bias)
        found = pooled(images)
    for image in range(2):
        mean = sum(tokens[image, 1 + k] for k in range(16)) / 16
        normed = (mean - mean.mean()) / (mean.var(correction=0) + 1e-6).sqrt()
        expected = normed * pooled.norm.weight.double() + pooled.norm.bias.double()
        torch.testing.assert_close(found[image].double(), expected, rtol=1e-4, atol=1e-5)


def test_a_hierarchical_encoder_keeps_its_own_mean(write, images):
    folder, module = write(RESNET)
    pooled = PooledEncoder(str(folder), pool="mean").eval()
    torch.testing.assert_close(pooled(images), module.eval()(images))
    assert isinstance(pooled.norm, nn.Identity)


@pytest.mark.parametrize("encoder", [VIT, RESNET], ids=lambda e: e["name"])
def test_tokens(write, images, encoder):
    folder, module = write(encoder)
    pooled = PooledEncoder(str(folder), pool="tokens", frozen=True).eval()
    found = pooled(images)
    module.eval()
    assert found.shape[2] == pooled.out_channels[0]
    if encoder is VIT:
        torch.testing.assert_close(found, module.forward_features(images))
        assert found.shape[1] == 17, "with the class token"
    else:
        torch.testing.assert_close(found.mean(dim=1), module(images))
    torch.testing.assert_close(all_tokens(module, describe_encoder(module), images), found)


def test_a_frozen_encoder_stays_in_evaluation_mode(write, images):
    folder, _ = write(RESNET)
    pooled = PooledEncoder(str(folder), frozen=True)
    before = copy.deepcopy(pooled.encoder.state_dict())
    pooled.train()
    assert pooled.training and not any(module.training for module in pooled.encoder.modules())
    head = nn.Linear(pooled.out_channels[0], 2)
    head(pooled(images)).sum().backward()
    assert head.weight.grad is not None and all(p.grad is None for p in pooled.parameters())
    assert all(torch.equal(value, before[key]) for key, value in pooled.encoder.state_dict().items())


@pytest.mark.parametrize("pool", ["own", "mean"])
@pytest.mark.parametrize("encoder", [VIT, BEIT, RESNET], ids=lambda e: e["name"])
def test_layer_decay_of_a_classifier(write, images, encoder, pool):
    folder, _ = write(encoder)
    model = nn.ModuleDict({"backbone": PooledEncoder(str(folder), pool=pool)})
    model["head"] = nn.Linear(model["backbone"].out_channels[0], 3)
    model["backbone"].init_weights()  # as mmengine does before training
    groups = layer_decay_groups(model, lr=1.0, weight_decay=0.05, layer_decay=0.65)
    scale = {name: group["lr_scale"] for group in groups for name in group["names"]}
    assert set(scale) == {name for name, _ in model.named_parameters()}
    assert scale["head.weight"] == 1
    if encoder is not RESNET:
        depth = encoder["kwargs"]["depth"]
        assert scale["backbone.encoder.patch_embed.proj.weight"] == pytest.approx(0.65 ** (depth + 1))
        assert scale[f"backbone.encoder.blocks.{depth - 1}.mlp.fc1.weight"] == pytest.approx(0.65)
    if encoder is BEIT:
        assert scale["backbone.encoder.blocks.0.attn.relative_position_bias_table"] == pytest.approx(0.65**2)
    if pool == "mean" and encoder is not RESNET:
        assert scale["backbone.norm.weight"] == 1
        assert not [name for name in scale if name.startswith(("backbone.encoder.norm.", "backbone.encoder.fc_norm."))]
    model["head"](model["backbone"](images)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_a_relative_bias_from_zero(write, images):
    folder, _ = write(VIT)
    plain, biased = (PooledEncoder(str(folder), pool="mean", relative_bias=size).eval() for size in (None, (32, 32)))
    torch.testing.assert_close(biased(images), plain(images))
    tables = {n: p for n, p in biased.named_parameters() if n.endswith("relative_position_bias_table")}
    assert len(tables) == 3
    groups = layer_decay_groups(biased, lr=1.0, weight_decay=0.05, layer_decay=0.65)
    scale = {name: (g["lr_scale"], g["weight_decay"]) for g in groups for name in g["names"]}
    assert [scale[name][0] for name in tables] == pytest.approx([0.65**3, 0.65**2, 0.65])
    assert {scale[name][1] for name in tables} == {0.0}
    with torch.no_grad():
        for table in tables.values():
            table.normal_()
    assert (biased(images) - plain(images)).abs().max() > 1e-3
    for arguments in (dict(pool="own", relative_bias=(32, 32)), dict(pool="max")):
        with pytest.raises(UserError, match=f"pool '{arguments['pool']}' with relative_bias"):
            PooledEncoder(str(folder), **arguments)


@pytest.mark.parametrize("encoder", [VIT, RESNET], ids=lambda e: e["name"])
def test_it_is_bound_to_a_configuration(write, encoder):
    folder, _ = write(encoder)
    model = dict(
        backbone=dict(type="PooledEncoder", pool="mean"), data_preprocessor=dict(mean="<encoder>", std="<encoder>")
    )
    cfg = Config(dict(model=model))
    fill_encoder_parts(cfg, folder, 0.1)
    assert cfg.model.backbone.to_dict() == dict(
        type="PooledEncoder", pool="mean", checkpoint=str(folder), drop_path_rate=0.1
    )
    assert cfg.model.data_preprocessor.mean == pytest.approx([127.5, 102, 76.5])
