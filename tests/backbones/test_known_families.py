"""The families that people compare: adapters give timm's own features, by number, after a trip through a checkpoint.

timm's side is its plain model, as timm builds it, at the model's own image size.
"""

import pytest
import timm
import torch

from backbones import HierarchicalPyramid, PooledEncoder, ViTPyramid, all_tokens

SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3}
STAGES = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}
WINDOWS = {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 3, 4)}
PLAIN = {
    "vit_small_patch14_dinov2": {**SMALL, "img_size": 70},
    "vit_small_patch14_reg4_dinov2": {**SMALL, "img_size": 70},
    "vit_small_patch16_dinov3": {**SMALL, "img_size": 64},
    "vit_base_patch16_siglip_224": {**SMALL, "img_size": 64},  # SigLIP 2 of one size has the same architecture
    "eva02_tiny_patch14_224": {**SMALL, "img_size": 70},
    "vit_pe_core_tiny_patch16_384": {**SMALL, "img_size": 64},
    "aimv2_large_patch14_224": {**SMALL, "img_size": 70},
    "samvit_base_patch16_224": {**SMALL, "img_size": 64, "global_attn_indexes": (1,)},
    "naflexvit_base_patch16_gap": {**SMALL, "img_size": 384},
    "vitamin_small_224": {},
}
HIERARCHICAL = {
    "convnext_atto": STAGES, "convnextv2_atto": STAGES, "swin_tiny_patch4_window7_224": WINDOWS,
    "swinv2_tiny_window8_256": WINDOWS, "mvitv2_tiny": {}, "fastvit_t8": {}, "mobilenetv4_conv_small": {},
    "caformer_s18": {}, "efficientvit_b0": {}, "tiny_vit_5m_224": {}, "repvit_m1": {},
}  # fmt: skip


def side(name, kwargs):
    return kwargs.get("img_size") or timm.get_pretrained_cfg(name).input_size[-1]


def timms(name, kwargs, stored):
    """timm's model as timm builds it, with the stored weights."""
    model = timm.create_model(name, num_classes=0, **kwargs).eval()
    model.load_state_dict(stored.state_dict())
    return model


@pytest.mark.parametrize("name", PLAIN)
@torch.no_grad()
def test_plain(write, name):
    kwargs = PLAIN[name]
    folder, stored = write({"name": name, "kwargs": kwargs})
    adapter = ViTPyramid(str(folder), pyramid=False).eval()
    image = torch.randn(1, 3, side(name, kwargs), side(name, kwargs))
    model = timms(name, kwargs, stored)
    blocks = sorted(set(adapter.taps))
    wanted = dict(zip(blocks, model.forward_intermediates(image, indices=blocks, intermediates_only=True), strict=True))
    for found, tap in zip(adapter(image), adapter.taps, strict=True):
        torch.testing.assert_close(found, wanted[tap], atol=1e-5, rtol=1e-5)
    tokens = all_tokens(model, adapter.facts, image)
    assert tokens.shape[-1] == adapter.facts.channels[-1]
    torch.testing.assert_close(PooledEncoder(str(folder), "tokens").eval()(image), tokens, atol=1e-5, rtol=1e-5)
    assert all(m.isfinite().all() for m in adapter(torch.randn(1, 3, 61, 83)))


@pytest.mark.parametrize("name", HIERARCHICAL)
@torch.no_grad()
def test_hierarchical(write, name):
    kwargs = HIERARCHICAL[name]
    folder, stored = write({"name": name, "kwargs": kwargs})
    adapter = HierarchicalPyramid(str(folder)).eval()
    image = torch.randn(1, 3, side(name, kwargs), side(name, kwargs))
    wanted = timms(name, kwargs, stored).forward_intermediates(image, intermediates_only=True)[-4:]
    for found, theirs in zip(adapter(image), wanted, strict=True):
        torch.testing.assert_close(found, theirs, atol=1e-5, rtol=1e-5)
    assert all(m.isfinite().all() for m in adapter(torch.randn(1, 3, 61, 83)))
