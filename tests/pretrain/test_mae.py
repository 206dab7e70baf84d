"""MAE: target and loss against float64 loops; what the loss sees and what it does not."""

import numpy as np
import pytest
import torch

from engine.errors import UserError
from pretrain.methods import mae as module
from pretrain.methods.mae import MAE
from pretrain.parts.masking import RandomMask, random_mask
from pretrain.parts.patches import normalise_patches, patchify
from tests.pretrain.samples import ENCODER


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MAE(encoder=ENCODER, decoder_width=16, decoder_depth=1, decoder_heads=2)


def patch_pixels(image, row, column, p=8):
    """One patch's pixels in the order (row, column, channel), float64."""
    return np.array(
        [image[c, row * p + y, column * p + x] for y in range(p) for x in range(p) for c in range(3)], np.float64
    )


def test_target_by_loops():
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    target = normalise_patches(patchify(images, 8))
    for b, row, column in ((0, 0, 0), (1, 2, 3)):
        x = patch_pixels(images[b].numpy(), row, column)
        mean = x.sum() / len(x)
        variance = ((x - mean) ** 2).sum() / (len(x) - 1)
        expected = (x - mean) / np.sqrt(variance + 1e-6)
        np.testing.assert_allclose(target[b, row * 4 + column].numpy(), expected, rtol=1e-9)


def test_loss_is_the_mean_over_hidden_patches(model, monkeypatch):
    images = torch.randn(2, 3, 32, 32)
    drawn = {}

    def remember(*args):
        drawn["mask"] = random_mask(*args)
        return drawn["mask"]

    monkeypatch.setattr(module, "random_mask", remember)
    torch.manual_seed(3)
    loss = float(model(inputs={"image": images})["loss_pixel"])
    mask: RandomMask = drawn["mask"]
    with torch.no_grad():
        from pretrain.parts.visible_tokens import encode_visible

        prediction = model.decode(encode_visible(model.encoder, images, mask.keep), mask).double().numpy()
    per_patch = []
    for b in range(2):
        for m, place in enumerate(mask.hidden[b].tolist()):
            x = patch_pixels(images[b].numpy(), place // 4, place % 4)
            goal = (x - x.mean()) / np.sqrt(x.var(ddof=1) + 1e-6)
            per_patch.append(((prediction[b, m] - goal) ** 2).mean())
    assert len(per_patch) == 2 * 12
    assert loss == pytest.approx(np.mean(per_patch), rel=1e-5)


def test_the_decoder_gives_at_hidden_places_what_its_whole_blocks_give_there():
    torch.manual_seed(1)
    model = MAE(encoder=ENCODER, decoder_width=16, decoder_depth=2, decoder_heads=2).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mask = random_mask(3, 16, 0.75, torch.device("cpu"))
    latent = torch.randn(3, 1 + 4, model.encoder.embed_dim, dtype=torch.float64, requires_grad=True)
    embedded = model.decoder_embed(latent)
    rows = []
    for b in range(3):
        patches = model.mask_token[0].repeat(16, 1)
        for k, place in enumerate(mask.keep[b].tolist()):
            patches[place] = embedded[b, 1 + k]
        rows.append(torch.cat([embedded[b, :1], patches + model.decoder_positions[0]]))
    x = torch.stack(rows)
    for block in model.decoder_blocks:
        x = block(x)
    whole = model.decoder_pred(model.decoder_norm(x))
    expected = torch.stack([torch.stack([whole[b, 1 + m] for m in mask.hidden[b].tolist()]) for b in range(3)])
    found = model.decode(latent, mask)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weights, wanted = torch.randn_like(found), [latent, *model.decoder_blocks.parameters()]
    gradients = [torch.autograd.grad((y * weights).sum(), wanted, retain_graph=True) for y in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_decoder_without_a_block_is_refused():
    with pytest.raises(UserError, match="decoder_depth is 0"):
        MAE(encoder=ENCODER, decoder_width=16, decoder_depth=0, decoder_heads=2)


def test_encoder_gets_gradients_and_fixed_positions_do_not(model):
    before = model.encoder.pos_embed.clone()
    model(inputs={"image": torch.randn(2, 3, 32, 32)})["loss_pixel"].backward()
    assert model.encoder.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
    assert model.encoder.pos_embed.grad is None and not model.encoder.pos_embed.requires_grad
    assert before[0, 0].abs().sum() == 0 and before[0, 1:].abs().sum() > 0
    model.init_weights()  # the runner calls it; the fixed positions must survive
    assert torch.equal(model.encoder.pos_embed, before)
