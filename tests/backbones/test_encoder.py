"""Encoders by name: errors that help, facts and counts against numbers known otherwise."""

import pytest
import torch

from backbones import build_encoder, describe_encoder, encoder_facts, encoder_flops, flops_per_image, parameter_count
from engine.errors import UserError


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("vit_bse_patch16_224", {}, ["vit_bse_patch16_224", "vit_base_patch16_224"]),
        ("vit_base_patch16_224.augreg_in21k", {}, ["unknown encoder", "vit_base_patch16_224"]),
        ("vit_tiny_patch16_224", {"dephth": 4}, ["dephth", "depth"]),
        ("resnet18", {"img_size": 64}, ["img_size"]),
        ("resnet18", {"num_classes": 10}, ["num_classes", "remove"]),
        ("vit_tiny_patch16_224", {"embed_dim": 97}, ["vit_tiny_patch16_224", "kwargs"]),
    ],
)
def test_wrong_names_and_arguments_are_explained_in_one_line(name, kwargs, words):
    with pytest.raises(UserError) as error:
        build_encoder(name, kwargs)
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_vit_takes_any_multiple_of_its_patch_and_has_no_classifier():
    encoder = build_encoder("vit_tiny_patch16_224", {"img_size": 64, "patch_size": 8, "depth": 2})
    assert encoder(torch.zeros(1, 3, 40, 72)).shape == (1, 192)


def test_facts_agree_with_maps_of_a_real_pass():
    for name, kwargs in [("vit_tiny_patch16_224", {"depth": 4}), ("resnet18", {}), ("mobilenetv2_100", {})]:
        encoder = build_encoder(name, kwargs).eval()
        facts = describe_encoder(encoder)
        assert facts == encoder_facts(name, kwargs)
        with torch.no_grad():
            maps = encoder.forward_intermediates(torch.zeros(1, 3, 64, 64), intermediates_only=True)
        assert [m.shape[1] for m in maps] == list(facts.channels)
        assert [64 // m.shape[2] for m in maps] == list(facts.strides)
        assert facts.plain == name.startswith("vit")


def test_parameters_of_vit_base_add_up():
    d, tokens = 768, 197
    block = 4 * d + (3 * d * d + 3 * d) + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d)
    expected = (3 * 16 * 16 * d + d) + d + tokens * d + 12 * block + 2 * d
    with torch.device("meta"):
        assert parameter_count(build_encoder("vit_base_patch16_224")) == expected


def test_flops_of_a_vit_match_the_closed_form_and_need_no_weights():
    d, depth, n = 96, 4, 64 + 1
    per_block = 2 * n * d * (3 * d + d + 4 * d + 4 * d) + 2 * 2 * n * n * d
    expected = 2 * 64 * (3 * 8 * 8) * d + depth * per_block
    kwargs = {"img_size": 64, "patch_size": 8, "embed_dim": d, "depth": depth, "num_heads": 3}
    encoder = build_encoder("vit_tiny_patch16_224", kwargs).train()
    assert flops_per_image(encoder, 64, 64) == expected
    assert encoder.training
    assert encoder_flops({"name": "vit_tiny_patch16_224", "kwargs": kwargs}, (64, 64)) == expected
    assert encoder_flops({"name": "vit_tiny_patch16_224", "kwargs": kwargs}, (63, 57)) == expected  # padded


def test_flops_of_resnet18_are_the_published_multiply_adds():
    assert encoder_flops({"name": "resnet18", "kwargs": {}}, (224, 224)) / 2 == pytest.approx(1.814e9, rel=1e-3)
