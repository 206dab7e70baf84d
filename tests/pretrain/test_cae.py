"""CAE: what each part sees, the target without gradient or lag, the published start and numbers."""

import inspect
import math

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from engine.errors import UserError
from pretrain.methods import cae as module
from pretrain.methods.cae import CAE
from pretrain.parts.block_masking import block_mask
from pretrain.parts.masking import take
from study.configure import load_config
from tests.pretrain.cae_samples import CPU, SCALED, SMALL, a_batch, shaken
from tests.pretrain.samples import ENCODER


def fix_mask(monkeypatch, mask):
    monkeypatch.setattr(module, "block_mask", lambda *_, **__: mask)


def total(losses):
    return sum(value for name, value in losses.items() if "loss" in name)


def test_no_gradient_through_the_target(build_cae, monkeypatch):
    """Exact zeros on the masked pixels, which only the target sees; without the stop they would not be zero."""
    model = shaken(build_cae())
    inputs, mask = a_batch(), block_mask(2, (4, 4), 6, CPU)
    fix_mask(monkeypatch, mask)
    image = inputs["image"].requires_grad_()
    losses = model(inputs={"image": image, "pixels": inputs["pixels"]})
    for name in ("loss_align", "loss_token"):
        (slope,) = torch.autograd.grad(losses[name], image, retain_graph=True)
        slope = slope.reshape(2, 3, 4, 8, 4, 8).abs().sum(dim=(1, 3, 5)).flatten(1)  # [2, 16], by patch
        assert (slope.gather(1, mask.hidden) == 0).all()
        assert (slope.gather(1, mask.keep) > 0).all()
    prefix, patches = module.embed_tokens(model.encoder, image)
    assert not model.alignment_target(prefix, take(patches, mask.hidden)).requires_grad
    (through,) = torch.autograd.grad(model.encode(prefix, take(patches, mask.hidden)).square().mean(), image)
    assert through.abs().sum() > 0


def test_target_is_the_encoder_itself_without_lag(build_cae):
    model = shaken(build_cae())
    inputs, mask = a_batch(), block_mask(2, (4, 4), 6, CPU)

    def target():
        prefix, patches = module.embed_tokens(model.encoder, inputs["image"])
        return model.alignment_target(prefix, take(patches, mask.hidden))

    def by_hand():  # timm's own modules on CLS and the masked patches
        encoder = model.encoder
        tokens = encoder.patch_embed(inputs["image"]).flatten(1, 2) + encoder.pos_embed[:, 1:]
        rows = torch.stack([tokens[b, mask.hidden[b]] for b in range(2)])
        x = torch.cat([encoder.cls_token.expand(2, -1, -1), rows], dim=1)
        for block in encoder.blocks:
            x = block(x)
        return encoder.norm(x)[:, 1:].detach()

    before = target()
    torch.testing.assert_close(before, by_hand())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    total(model(inputs=inputs)).backward()
    optimizer.step()
    after = target()  # before `after_step`: no update of a copy is waited for
    assert (after - before).abs().max() > 1e-4
    torch.testing.assert_close(after, by_hand())
    model.after_step(1.0)
    assert torch.equal(target(), after)
    names = [name for name in model.state_dict() if "qkv" in name and "blocks" in name]
    assert len(names) == 2 * ENCODER["kwargs"]["depth"]  # weight and bias of one encoder: there is no second


def test_target_sees_the_masked_patches_only(build_cae):
    model, inputs = shaken(build_cae()), a_batch(count=1)
    hidden = torch.tensor([[5, 6, 9, 10]])

    def target(images):
        prefix, patches = module.embed_tokens(model.encoder, images)
        return model.alignment_target(prefix, take(patches, hidden))

    changed = inputs["image"].clone()
    changed[:, :, :8] += 1.0  # patches 0 to 3, visible
    assert torch.equal(target(changed), target(inputs["image"]))
    changed[:, :, 8:16, 8:16] += 1.0  # patch 5
    assert not torch.equal(target(changed), target(inputs["image"]))


def test_decoder_never_sees_the_visible_latents(build_cae, monkeypatch):
    """Z_v changes, Z_m is held: the decoder's output and the reconstruction stay exactly the same."""
    model = shaken(build_cae())
    inputs, mask = a_batch(), block_mask(2, (4, 4), 6, CPU)
    fix_mask(monkeypatch, mask)
    latent, visible, scores = torch.randn(2, 6, 24), [], []

    def held(z_v, *_):
        visible.append(z_v)
        return latent

    monkeypatch.setattr(model, "regress", held)
    model.head.register_forward_hook(lambda _, __, out: scores.append(out))
    lengths = []
    model.decoder[0].register_forward_hook(lambda _, given, __: lengths.append(given[0].shape[1]))
    model(inputs=inputs)
    with torch.no_grad():
        for parameter in (*model.encoder.parameters(), model.mask_token):
            parameter.add_(0.3 * torch.randn_like(parameter))
    model(inputs={**inputs, "image": torch.randn_like(inputs["image"])})
    assert not torch.equal(visible[0], visible[1]) and torch.equal(scores[0], scores[1])
    assert lengths == [6, 6]
    model.decoder(latent).sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters()) and model.mask_token.grad is None


@pytest.mark.parametrize("count", [75, 98])
def test_published_numbers_of_masked_patches(build_cae, count):
    encoder = {**SCALED, "kwargs": {**SCALED["kwargs"], "img_size": 112, "depth": 1}}  # 14 x 14 patches of 8 pixels
    arguments = {} if count == 75 else {"num_masked": 98}
    model = build_cae(encoder=encoder, **{**SMALL, "num_masked": 75, **arguments})
    lengths, embedded, scores = [], [], []
    model.encoder.blocks[0].register_forward_hook(lambda _, given, __: lengths.append(given[0].shape[1]))
    model.encoder.patch_embed.register_forward_hook(lambda *_: embedded.append(1))
    model.head.register_forward_hook(lambda _, __, out: scores.append(tuple(out.shape)))
    losses = model(inputs=a_batch(112, count=3))
    assert lengths == [1 + 196 - count, 1 + count]  # CLS and visible, CLS and masked, in every image
    assert scores == [(3, count, 11)] and len(embedded) == 1  # one embedding for both passes
    assert all(torch.isfinite(value) for value in losses.values())


def test_paper_config_builds(dvae):
    published = {"num_masked": 75, "align_weight": 2.0, "regressor_depth": 4, "decoder_depth": 4, "width": 768}
    arguments = inspect.signature(CAE).parameters
    assert {name: arguments[name].default for name in published} == published
    cfg = load_config("pretrain/configs/cae.py", scale="paper")
    assert {name: cfg.model.get(name, arguments[name].default) for name in published} == published
    assert cfg.train_cfg.max_iters == 1600 * (1_281_167 // 2048)
    assert cfg.model.tokenizer == {"type": "dalle", "file": "data/dalle/encoder.pkl"}
    cfg.model.tokenizer = dvae
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert (
        model.rectangles_only
        and model.grid == (14, 14)
        and model.encoder.blocks[11].drop_path1.drop_prob == pytest.approx(0.1)
    )
    assert model.encoder.blocks[0].ls1.gamma.shape == (768,) and isinstance(model.adaptor, nn.Identity)
    blocks = [*model.regressor, *model.decoder[:-1]]
    assert len(blocks) == 8 and all(block.mlp.fc1.weight.shape == (3072, 768) for block in blocks)
    views = cfg.train_dataloader.dataset.views
    assert views.pixels == {"of": "image", "size": 14 * model.tokenizer.reduction, "interpolation": "lanczos"}


@pytest.mark.parametrize("kwargs", [{}, {"align_weight": 0.0}, {"target": "pixel"}, {"width": 12}])
def test_it_learns(build_cae, kwargs):
    model, inputs = build_cae(**kwargs), a_batch(count=4)
    passes = []
    model.encoder.norm.register_forward_hook(lambda *_: passes.append(1))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    curve = []
    for _ in range(16):
        losses = model(inputs=inputs)
        total(losses).backward()
        curve.append({name: float(value) for name, value in losses.items()})
        missing = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
        assert missing == set()
        optimizer.step()
        optimizer.zero_grad()
    names = {name for name in curve[0] if "loss" in name}
    kind = kwargs.get("target", "token")
    aligned = kwargs.get("align_weight", 2.0) > 0
    assert names == ({f"loss_{kind}", "loss_align"} if aligned else {f"loss_{kind}"})
    assert len(passes) == 16 * (2 if aligned else 1)
    for name in names:
        assert sum(c[name] for c in curve[-4:]) < 0.9 * sum(c[name] for c in curve[:4]), name


def test_half_precision_leaves_tokens_and_losses_alone(build_cae):
    model, inputs, found = build_cae(), a_batch(count=4), []
    ids = model.tokenizer.ids(inputs["pixels"])
    for half in (False, True):
        torch.manual_seed(4)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found.append(model(inputs=inputs))
            assert torch.equal(model.tokenizer.ids(inputs["pixels"]), ids)
    for name in ("loss_token", "loss_align"):
        assert found[1][name].dtype == torch.float32
        assert float(found[1][name]) == pytest.approx(float(found[0][name]), rel=0.05)


def test_the_weight_of_the_alignment(build_cae):
    inputs = a_batch()
    found = []
    for weight in (2.0, 5.0):
        model = build_cae(align_weight=weight)
        torch.manual_seed(4)
        found.append(float(model(inputs=inputs)["loss_align"]))
    assert found[1] == pytest.approx(2.5 * found[0], rel=1e-5)


def test_drop_path_in_the_targets_pass(build_cae):
    encoder = {**SCALED, "kwargs": {**SCALED["kwargs"], "drop_path_rate": 0.7}}
    inputs = a_batch(count=6)
    for published in (True, False):
        model = shaken(build_cae(encoder=encoder, align_training=published))
        prefix, patches = module.embed_tokens(model.encoder, inputs["image"])
        first, second = (model.alignment_target(prefix, patches) for _ in range(2))
        assert torch.equal(first, second) != published
        assert model.encoder.training and model.encoder.blocks[0].training
        evaluated = model.eval().alignment_target(prefix, patches)
        assert torch.equal(first, evaluated) != published and not model.encoder.training


def test_drop_path_rates_and_layer_scale(build_cae):
    model = build_cae(drop_path=0.3, regressor_depth=4, decoder_depth=4, init_values=1e-5)
    rates = [0.0, 0.1, 0.2, 0.3]
    assert [block.drop_path.drop_prob for block in model.regressor] == pytest.approx(rates)
    assert [getattr(block.drop_path1, "drop_prob", 0.0) for block in model.decoder[:-1]] == pytest.approx(rates)
    for block in model.regressor:
        assert (block.scale_attention.gamma == 1e-5).all() and (block.scale_mlp.gamma == 1e-5).all()
    assert all((block.ls1.gamma == 1e-5).all() and (block.ls2.gamma == 1e-5).all() for block in model.decoder[:-1])
    assert all((block.ls1.gamma == 0.1).all() for block in model.encoder.blocks)


def test_published_start(build_cae):
    model = build_cae(width=12)
    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert len(linear) == 2 * 4 + 2 * 6 + 2 * 4 + 2  # encoder, regressor, decoder, adaptor and head
    for name, layer in linear.items():
        rows, columns = layer.weight.shape  # [3 d, d] for q, k, v as one matrix
        bound = math.sqrt(6 / (rows + columns))
        assert 0.9 * bound < layer.weight.abs().max() <= bound, name
        assert layer.bias is None or (layer.bias == 0).all()
    for value in (model.encoder.cls_token, model.mask_token, model.encoder.patch_embed.proj.weight):
        assert value.abs().max() <= 0.02 and value.std() > 0.005
    assert (model.encoder.patch_embed.proj.bias == 0).all()


def test_tokenizer_stays_frozen_and_out_of_the_state(build_cae, dvae):
    model, inputs = build_cae(), a_batch()
    weights = torch.load(dvae["file"], weights_only=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    total(model.train()(inputs=inputs)).backward()
    optimizer.step()
    inside = dict(model.tokenizer.encoder.named_buffers())
    assert set(inside) == set(weights) and all(torch.equal(inside[name], weights[name]) for name in weights)
    assert not [name for name in model.state_dict() if "tokenizer" in name]
    assert not [name for name, _ in model.named_parameters() if "tokenizer" in name]


def test_state_comes_back(build_cae):
    model, inputs = shaken(build_cae()), a_batch()
    other = build_cae(seed=7)
    other.load_state_dict(model.state_dict())
    found = []
    for each in (model, other):
        torch.manual_seed(5)
        found.append(each(inputs=inputs))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_wrong_input_is_refused(build_cae):
    with pytest.raises(UserError, match="model.num_masked is 16: choose from 1 to 15 of 16 patches"):
        build_cae(num_masked=16)
    with pytest.raises(UserError, match='needs model.tokenizer: give one, or choose target "pixel"'):
        build_cae(tokenizer=None)
    with pytest.raises(UserError, match="resnet18.*vit_base_patch16_224"):
        build_cae(encoder={"name": "resnet18"})
    inputs = a_batch()
    with pytest.raises(UserError, match="4 tokens of an image, the encoder 16 patches.*32 pixels a side"):
        build_cae()(inputs={**inputs, "pixels": inputs["pixels"][:, :, :16, :16]})
    with pytest.raises(UserError, match=r'no pixels for the tokenizer: add pixels=dict\(of="image"'):
        build_cae()(inputs={"image": inputs["image"]})
    assert torch.isfinite(build_cae(target="pixel", tokenizer=None)(inputs={"image": inputs["image"]})["loss_pixel"])
