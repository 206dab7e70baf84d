"""The attention that is watched is the one the block uses: mixed with its values it gives the block's own output."""

import pytest
import torch

from analysis.attention import SelfAttention, each_block, grid_of, softmax_attention
from backbones import build_encoder
from engine.errors import UserError

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
ENCODERS = {
    "ViT": ("vit_tiny_patch16_224", SMALL),
    "normalised queries": ("vit_tiny_patch16_224", {**SMALL, "qk_norm": True, "scale_attn_norm": False}),
    "BEiT, shared table": ("beit_base_patch16_224",
                           {**SMALL, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}),
    "BEiT, own tables": ("beit_base_patch16_224", SMALL),
}  # fmt: skip


def randomised(name, kwargs):
    """An encoder in which no weight is regular: bias tables start at zero."""
    torch.manual_seed(0)
    encoder = build_encoder(name, kwargs).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return encoder


def attention_by_hand(encoder, image):
    """[heads, T, T] of each block of a plain ViT for one image [3, H, W], from the queries and keys of its layers."""
    seen = []
    handles = [block.attn.register_forward_pre_hook(lambda module, args: seen.append((module, args[0][0])))
               for block in encoder.blocks]  # fmt: skip
    with torch.no_grad():
        encoder.forward_features(image[None])
        for handle in handles:
            handle.remove()
        found = []
        for module, x in seen:
            query, key, _ = module.qkv(x).view(len(x), 3, module.num_heads, -1).permute(1, 2, 0, 3)
            found.append((query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1))
    return found


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("side", [32, 48])
def test_attention_gives_the_modules_own_output(kind, side):
    encoder = randomised(*ENCODERS[kind])
    mixed, outputs = [], []

    def answer(call, query, key, value, bias):
        mixed.append(softmax_attention(query, key, bias) @ value)

    for block in encoder.blocks:
        block.attn.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad(), SelfAttention(answer):
        encoder.forward_features(torch.randn(2, 3, side, side))
        for block, own, output in zip(encoder.blocks, mixed, outputs, strict=True):
            again = block.attn.proj(own.transpose(1, 2).flatten(2))
            torch.testing.assert_close(again, output, rtol=1e-5, atol=1e-5)
    assert mixed[0].shape == (2, 3, 1 + (side // 8) ** 2, 8)


def test_biases_are_in_it():
    """Without the table the attention would be another."""
    encoder = randomised(*ENCODERS["BEiT, shared table"])
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        (first, _) = each_block(encoder, image, lambda attention: attention)
        encoder.rel_pos_bias.relative_position_bias_table.zero_()
        (without, _) = each_block(encoder, image, lambda attention: attention)
    assert (first - without).abs().max() > 0.05
    torch.testing.assert_close(first.sum(dim=-1), torch.ones(1, 3, 17))


def test_a_kernel_that_timm_writes_out_is_seen_too():
    encoder = randomised(*ENCODERS["ViT"])
    for block in encoder.blocks:
        block.attn.fused_attn = False
    with torch.no_grad():
        assert len(each_block(encoder, torch.randn(1, 3, 32, 32), lambda attention: attention)) == 2


def test_encoders_without_attention_over_all_patches_are_refused():
    with torch.device("meta"):
        resnet, mixer = build_encoder("resnet18"), build_encoder("mixer_s32_224")
    with pytest.raises(UserError, match="checkpoint x: ResNet has no blocks that attend to all patches; choose"):
        grid_of(resnet, 32, "checkpoint x")
    with pytest.raises(UserError, match="0 of the 8 blocks of MlpMixer showed their attention: choose a ViT"):
        each_block(mixer, torch.zeros(1, 3, 224, 224, device="meta"), lambda attention: attention)
    assert grid_of(build_encoder(*ENCODERS["ViT"]), 48, "") == (6, 6)
