"""Every encoder that pretraining may use becomes a backbone: it builds, says what it is, is stored, loaded and mapped.

The published sizes are described on the meta device; those that are stored and run are as deep, but narrow.
"""

import copy
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from backbones import (
    build_encoder,
    describe_encoder,
    fill_encoder_parts,
    flops_per_image,
    load_encoder,
    parameter_count,
    save_checkpoint,
)

RELATIVE = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}
NANO = {"embed_dim": 48, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24)}
SWIN, OPENAI = "swin_tiny_patch4_window7_224", "vit_base_patch16_clip_quickgelu_224"

# timm name, arguments, outputs of the published classifier or projection (0: none), millions of parameters with it,
# billions of multiply-adds at 224 pixels. Sources: DeiT (Touvron et al. 2021) and Steiner et al. 2022 for ViT, CLIP,
# BEiT, ResNet, MobileNetV2 and Swin by their papers and torchvision's tables, MCi by MobileCLIP's repository.
PUBLISHED = [
    ("vit_tiny_patch16_224", {}, 1000, 5.7, 1.25),
    ("vit_small_patch16_224", {}, 1000, 22.1, 4.6),
    ("vit_base_patch16_224", {}, 1000, 86.6, 17.6),
    ("vit_large_patch16_224", {}, 1000, 304.3, 61.6),
    (OPENAI, {}, 512, 86.2, 17.6),
    ("beit_base_patch16_224", {}, 1000, 86.5, 17.6),
    ("resnet18", {}, 1000, 11.7, 1.81),
    ("mobilenetv2_100", {}, 1000, 3.5, 0.30),
    (SWIN, {}, 1000, 28.3, 4.5),
    (SWIN, NANO, 0, 6.9, None),
    ("fastvit_mci0", {}, 512, 11.4, None),
    ("fastvit_mci1", {}, 512, 21.5, None),
    ("fastvit_mci2", {}, 512, 35.8, None),
]


@pytest.mark.parametrize(("name", "kwargs", "outputs", "parameters", "multiply_adds"), PUBLISHED)
def test_published_sizes(name, kwargs, outputs, parameters, multiply_adds):
    with torch.device("meta"):
        encoder = build_encoder(name, kwargs)
    total = parameter_count(encoder) + outputs * (encoder.num_features + 1)
    assert total / 1e6 == pytest.approx(parameters, abs=0.06)
    facts = describe_encoder(encoder)
    assert facts.strides[-4:] == ((16,) * 4 if facts.plain else (4, 8, 16, 32))
    if multiply_adds:
        assert flops_per_image(encoder, 224, 224) / 2e9 == pytest.approx(multiply_adds, rel=0.01)


NARROW = {"embed_dim": 48, "num_heads": 3}
MCI = {"embed_dims": (16, 32, 64, 128), "layers": (1, 1, 2, 1)}
STORED = {
    "vit_tiny": ("vit_tiny_patch16_224", NARROW, [48] * 4),
    "vit_large": ("vit_large_patch16_224", NARROW, [48] * 4),
    "vit_patch14": ("vit_base_patch14_dinov2", {**NARROW, "img_size": 224}, [48] * 4),
    "openai": (OPENAI, NARROW, [48] * 4),
    "beit": ("beit_base_patch16_224", {**NARROW, **RELATIVE}, [48] * 4),
    "mobileclip_b": ("vit_base_mci_224", {"depth": 1}, [768] * 4),
    "resnet18": ("resnet18", {}, [64, 128, 256, 512]),
    "mobilenetv2": ("mobilenetv2_100", {}, [24, 32, 96, 320]),
    "swin_nano_224": (SWIN, NANO, [48, 96, 192, 384]),
    "swin_nano_64": (SWIN, {**NANO, "img_size": 64}, [48, 96, 192, 384]),
    "mci0": ("fastvit_mci0", MCI, [16, 32, 64, 128]),
    "mci2": ("fastvit_mci2", MCI, [16, 32, 64, 128]),
}


@pytest.fixture(scope="module", params=STORED)
def case(request, tmp_path_factory, make_meta, randomised):
    """(folder, the stored encoder, a detector's model with it bound, the adapter that this names, channels)"""
    name, kwargs, channels = STORED[request.param]
    encoder = randomised(name, kwargs).eval()
    folder = tmp_path_factory.mktemp("checkpoint") / "encoder"
    save_checkpoint(folder, encoder, make_meta({"name": name, "kwargs": kwargs}))
    model = {
        "data_preprocessor": {"mean": "<encoder>", "std": "<encoder>"},
        "backbone": {},
        "neck": {"type": "FPN", "in_channels": "<encoder>", "out_channels": 32, "num_outs": 5},
        "rpn_head": {"anchor_generator": {"strides": "<encoder>"}},
        "roi_head": {"bbox_roi_extractor": {"featmap_strides": "<encoder>"}},
    }
    cfg = Config({"model": model})
    fill_encoder_parts(cfg, folder)
    return folder, encoder, cfg.model, MODELS.build(cfg.model.backbone).eval(), channels


@torch.no_grad()
def test_four_maps_at_the_strides_that_detectors_are_told(case):
    _, _, model, adapter, channels = case
    assert model.neck.in_channels == adapter.out_channels == channels
    strides = model.roi_head.bbox_roi_extractor.featmap_strides
    assert strides == adapter.out_strides and strides[0] in (3.5, 4)
    assert strides == [strides[0] * 2**level for level in range(4)]
    assert model.rpn_head.anchor_generator.strides == [*strides, 2 * strides[-1]]
    for height, width in ((64, 64), (96, 64), (224, 224)):
        maps = adapter(torch.randn(1, 3, height, width))
        for found, stride, count in zip(maps, strides, channels, strict=True):
            assert found.shape == (1, count, math.ceil(height / stride), math.ceil(width / stride))
            assert torch.isfinite(found).all() and found.std() > 0


@torch.no_grad()
def test_stored_loaded_and_mapped_are_the_same_weights(case):
    """A map without added layers is timm's own: the tap at the patch's stride of a plain ViT, else every stage."""
    folder, stored, _, adapter, _ = case
    loaded, _, ledger = load_encoder(folder)
    state = stored.state_dict()
    assert set(ledger.loaded) == set(state)
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    image = torch.randn(1, 3, 112 if adapter.facts.plain else 96, 224)
    theirs = loaded.eval().forward_intermediates(image, intermediates_only=True)
    maps = adapter(image)
    if adapter.facts.plain:
        level = [stride / adapter.patch for stride in adapter.out_strides].index(1)
        maps, theirs = [maps[level]], [theirs[adapter.taps[level]]]
    for found, timms in zip(maps, theirs[-4:], strict=True):
        torch.testing.assert_close(found, timms)


def test_every_parameter_has_a_gradient_and_a_layer(case):
    adapter = copy.deepcopy(case[3]).train()
    maps = adapter(torch.randn(2, 3, 64, 64))
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    assert [name for name, parameter in adapter.named_parameters() if parameter.grad is None] == []
    ids, last = adapter.layer_ids()
    assert set(ids) == {name for name, _ in adapter.named_parameters()}
    assert {0, last - 1} <= set(ids.values()) and max(ids.values()) <= last
