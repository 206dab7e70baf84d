"""Layer decay: BEiT's numbers, exact cover of the parameters, weight decay exemptions, mmengine's interface."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from backbones import HierarchicalPyramid, ViTPyramid, layer_decay_groups
from engine.errors import UserError


class Model(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.decode_head = nn.Conv2d(8, 8, 1)


def by_name(groups):
    table = {}
    for group in groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            assert name not in table
            table[name] = (group["lr_scale"], group["lr"], group["weight_decay"], parameter)
    return table


def test_twelve_blocks_have_the_published_scales(write):
    kwargs = {"img_size": 32, "embed_dim": 48, "num_heads": 3}
    folder, _ = write({"name": "vit_base_patch16_224", "kwargs": kwargs})
    model = Model(ViTPyramid(str(folder), final_norm=True))
    table = by_name(layer_decay_groups(model, lr=1e-4, weight_decay=0.05, layer_decay=0.65))
    assert {name for name, _ in model.named_parameters()} == set(table)
    assert all(parameter is table[name][3] for name, parameter in model.named_parameters())
    expected = {
        "backbone.encoder.patch_embed.proj.weight": 0.65**13,
        "backbone.encoder.cls_token": 0.65**13,
        "backbone.encoder.pos_embed": 0.65**13,
        "backbone.encoder.blocks.0.attn.qkv.weight": 0.65**12,
        "backbone.encoder.blocks.11.mlp.fc2.bias": 0.65,
        "backbone.encoder.norm.weight": 1,
        "backbone.rescale.0.0.weight": 1,
        "backbone.rescale.1.bias": 1,
        "decode_head.weight": 1,
    }
    for name, scale in expected.items():
        assert table[name][0] == pytest.approx(scale), name
        assert table[name][1] == pytest.approx(1e-4 * scale)
    assert table["backbone.encoder.pos_embed"][0] == pytest.approx(0.0037, abs=1e-5)


def test_weight_decay_exemptions(write):
    model = Model(ViTPyramid(str(write()[0])))
    table = by_name(layer_decay_groups(model, 1e-3, 0.05, 0.75))
    exempt = {name for name, entry in table.items() if entry[2] == 0}
    for name, parameter in model.named_parameters():
        token = name.endswith(("pos_embed", "cls_token"))
        assert (name in exempt) == (parameter.ndim == 1 or token), name
    assert {entry[2] for entry in table.values()} == {0.0, 0.05}


def test_equal_settings_share_a_group(write):
    model = Model(ViTPyramid(str(write()[0])))
    # embedding, 4 blocks, rest: each with and without weight decay
    assert len(layer_decay_groups(model, 1e-3, 0.05, 0.65)) == 12
    assert len(layer_decay_groups(model, 1e-3, 0.0, 0.65)) == 6
    assert len(layer_decay_groups(model, 1e-3, 0.05, 1.0)) == 2


def test_frozen_parameters_are_left_out(write):
    model = Model(ViTPyramid(str(write()[0])))
    model.backbone.encoder.blocks[0].requires_grad_(False)
    names = by_name(layer_decay_groups(model, 1e-3, 0.05, 0.65))
    assert not any(name.startswith("backbone.encoder.blocks.0.") for name in names)


@pytest.mark.parametrize(
    ("name", "stem", "early", "late", "groups"),
    [
        ("resnet18", "conv1.weight", "layer1.0.conv1.weight", "layer4.1.conv2.weight", 9),
        (
            "swin_tiny_patch4_window7_224",
            "patch_embed.proj.weight",
            "layers.0.blocks.0.attn.qkv.weight",
            "layers.3.blocks.1.mlp.fc2.weight",
            13,
        ),
    ],
)
def test_hierarchical_groups_run_from_stem_to_last_block(write, name, stem, early, late, groups):
    """resnet18 has 8 blocks and swin_tiny 12, after one stem and before the rest of the model."""
    model = Model(HierarchicalPyramid(str(write({"name": name, "kwargs": {}})[0])))
    table = by_name(layer_decay_groups(model, 1e-3, 0.05, 0.5))
    assert {name for name, _ in model.named_parameters()} == set(table)
    assert table[f"backbone.encoder.{stem}"][0] == 0.5**groups
    assert table[f"backbone.encoder.{early}"][0] == 0.5 ** (groups - 1)
    assert table[f"backbone.encoder.{late}"][0] == 0.5
    assert table["decode_head.weight"][0] == 1
    for parameter, entry in table.items():
        if "relative_position_bias_table" in parameter:
            assert entry[2] == 0


def config(**changes):
    optimizer = {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05, "betas": (0.9, 0.98)}
    return {
        "type": "OptimWrapper",
        "optimizer": optimizer,
        "constructor": "LayerDecayConstructor",
        "paramwise_cfg": {"layer_decay": 0.65},
        "clip_grad": {"max_norm": 1.0},
    } | changes


def test_mmengine_builds_it_by_name_and_it_steps(write):
    model = Model(ViTPyramid(str(write()[0])))
    wrapper = build_optim_wrapper(model, config())
    assert type(wrapper.optimizer) is torch.optim.AdamW
    assert len(wrapper.optimizer.param_groups) == 12
    assert wrapper.optimizer.defaults["betas"] == (0.9, 0.98)
    assert wrapper.clip_grad_kwargs == {"max_norm": 1.0}
    rates = sorted(set(wrapper.get_lr()["lr"]))
    assert rates == pytest.approx([1e-3 * 0.65**k for k in (5, 4, 3, 2, 1, 0)])
    before = model.backbone.rescale[0].weight.detach().clone()
    loss = sum(m.square().mean() for m in model.backbone(torch.randn(2, 3, 64, 64)))
    wrapper.update_params(loss)
    assert not torch.equal(before, model.backbone.rescale[0].weight)


def test_wrong_use(write):
    with pytest.raises(UserError, match="found 0"):
        layer_decay_groups(nn.Linear(2, 2), 1e-3, 0.05, 0.65)
    pyramid = ViTPyramid(str(write()[0]))
    with pytest.raises(UserError, match=r"layer_decay is 1\.5"):
        layer_decay_groups(pyramid, 1e-3, 0.05, 1.5)
    with pytest.raises(UserError, match=r"\['layer_decay', 'norm_decay'\]"):
        build_optim_wrapper(pyramid, config(paramwise_cfg={"layer_decay": 0.65, "norm_decay": 0}))
    with pytest.raises(UserError, match="no lr"):
        build_optim_wrapper(pyramid, config(optimizer={"type": "AdamW"}))
