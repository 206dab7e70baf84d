"""LightCLIP: stages of all encoders, weights and schedule, what learns, what the checkpoint holds, the configs."""

import pytest
import torch
from mmengine.registry import MODELS

from engine.errors import UserError
from pretrain.methods.lightclip import LightCLIP, encode_stages, middle_stages
from study.configure import load_config
from tests.pretrain.samples import ENCODER

VIT = {"name": ENCODER["name"], "kwargs": {**ENCODER["kwargs"], "depth": 4}}
SWIN = {"img_size": 64, "embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "drop_path_rate": 0.0}
ENCODERS = {
    "vit": (VIT, 32, [(24, 16), (24, 16)], 16),
    "resnet18": ({"name": "resnet18"}, 64, [(128, 64), (256, 16)], 4),
    "mobilenetv2": ({"name": "mobilenetv2_100"}, 64, [(32, 64), (96, 16)], 4),
    "swin": ({"name": "swin_tiny_patch4_window7_224", "kwargs": SWIN}, 64, [(24, 64), (48, 16)], 4),
}


@pytest.fixture
def text4(text):
    return {**text, "layers": 4}


def build(text, encoder=VIT, image_size=32, **kwargs):
    torch.manual_seed(0)
    return LightCLIP(encoder=encoder, text=text, image_size=image_size, **kwargs)


def step_inputs(batch):
    return {"image": batch["image"].float() / 255, "tokens": batch["tokens"]}


def total(losses):
    return sum(value for name, value in losses.items() if "loss" in name)


@pytest.mark.parametrize("name", ENCODERS)
def test_stages_of_one_pass(name):
    encoder, size, shapes, count = ENCODERS[name]
    torch.manual_seed(0)
    model = LightCLIP(encoder, {"embed_dim": 8, "width": 12, "heads": 3, "layers": 4, "vocabulary": ["a"]}, size)
    assert model.stage_shapes(size) == shapes
    encoder = model.encoder.eval()
    passes = []
    encoder.register_forward_hook(lambda *_: passes.append("whole"))
    first = next(m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d))
    first.register_forward_hook(lambda *_: passes.append("stem"))
    images = torch.randn(2, 3, size, size)
    found = encode_stages(encoder, images, model.stages)
    assert passes == ["stem"]
    assert [(m.shape[1], m.shape[2] * m.shape[3]) for m in (found.second, found.third)] == shapes
    assert found.tokens.shape == (2, count, encoder.num_features)
    torch.testing.assert_close(found.pooled, encoder(images))
    if name != "vit":  # tokens are the cells that are pooled, in reading order
        torch.testing.assert_close(found.tokens.mean(dim=1), found.pooled, rtol=1e-4, atol=1e-5)
        final = encoder.forward_features(images)
        cell = final[:, 0, 1] if name == "swin" else final[:, :, 0, 1]
        torch.testing.assert_close(found.tokens[:, 1], cell)
    else:
        torch.testing.assert_close(found.tokens, encoder.forward_features(images)[:, 1:])


def test_stages_of_a_vit_are_quarters():
    from backbones import build_encoder

    for depth, expected in ((4, (1, 2)), (12, (5, 8)), (6, (2, 3))):
        encoder = build_encoder("vit_tiny_patch16_224", {**VIT["kwargs"], "depth": depth})
        assert middle_stages(encoder, "vit") == expected


def test_published_weights(text4, batch):
    inputs, found = step_inputs(batch), {}
    for name, weights in {
        "published": {},
        "unit": dict.fromkeys(("instance_weight", "token_weight", "mlm_weight"), 1.0),
    }.items():
        model = build(text4, **weights)
        model.progress = 0.5
        torch.manual_seed(5)
        found[name] = model(inputs=inputs)
    assert set(found["unit"]) == {"loss_image", "loss_text", "loss_token", "loss_mlm", "logit_scale"}
    for term, weight in {"loss_image": 0.8, "loss_text": 0.8, "loss_token": 0.1, "loss_mlm": 0.1}.items():
        assert float(found["published"][term]) == pytest.approx(weight * float(found["unit"][term]), rel=1e-5)


def test_labels_soften_with_progress(text4, batch):
    from pretrain.methods.lightclip_softening import softened_losses

    model, inputs = build(text4), step_inputs(batch)
    image = model.image_projection(model.encoder(inputs["image"]))
    words = model.text(inputs["tokens"])
    for progress, kind in ((0.0, "hard"), (0.4, "uniform"), (0.9, "importance")):
        model.before_step(progress)
        found = model(inputs=inputs)
        expected = softened_losses(image, words, model.logit_scale, kind, 0.2)
        for term, value in zip(("loss_image", "loss_text"), expected, strict=True):
            torch.testing.assert_close(found[term], 0.4 * value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_parameter_learns(text4, batch, name):
    encoder, size, *_ = ENCODERS[name]
    model = build(text4, encoder, size)
    images = torch.nn.functional.interpolate(step_inputs(batch)["image"], size=(size, size))
    losses = model(inputs={"image": images, "tokens": batch["tokens"]})
    assert all(torch.isfinite(value) for value in losses.values())
    total(losses).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        # a residual branch of a ResNet starts at zero
        assert parameter.grad.any() or name.startswith("encoder.layer"), name


def test_weight_zero_leaves_a_term_and_its_parameters_out(text4, batch):
    model = build(text4, token_weight=0, mlm_weight=0)
    assert set(model(inputs=step_inputs(batch))) == {"loss_image", "loss_text", "logit_scale"}
    assert not [name for name in model.state_dict() if "mlm" in name or "tokens" in name]


def test_checkpoint_holds_clips_parts_only(text4, batch):
    model = build(text4)
    state = model.text_state()
    assert {name for name in state if not name.startswith("text.")} == {"image_projection.weight", "logit_scale"}
    assert {name for name in state if name.startswith("text.")} == {f"text.{n}" for n in model.text.state_dict()}
    assert model.checkpoint_meta()["text"]["kwargs"]["layers"] == 4
    other = LightCLIP(encoder=VIT, text=text4, image_size=32)
    other.load_state_dict(model.state_dict())
    outcomes = []
    for each in (model, other):
        torch.manual_seed(1)
        outcomes.append(each(inputs=step_inputs(batch)))
    for name, value in outcomes[0].items():
        assert torch.equal(value, outcomes[1][name]), name


def test_temperature_is_clamped(text4):
    model = build(text4)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model.after_step(0.5)
    assert float(model.logit_scale.exp()) == pytest.approx(100, rel=1e-5)


def test_wrong_input_is_refused(text, text4, batch):
    with pytest.raises(UserError, match="layers=2 is no multiple of 4"):
        build(text)
    with pytest.raises(UserError, match="has 2 blocks, LightCLIP needs four or more"):
        build(text4, ENCODER)
    with pytest.raises(UserError, match="16 cells where model.image_size leads to 64: set model.image_size"):
        build(text4, image_size=64)(inputs=step_inputs(batch))


@pytest.mark.parametrize("name", ["lightclip", "lightclip_resnet18", "lightclip_mobilenetv2", "lightclip_swin_nano"])
@pytest.mark.parametrize("scale", ["tiny", "paper"])
def test_configs_fit_their_images(name, scale, batch):
    cfg = load_config(f"pretrain/configs/{name}.py", scale=scale)
    size = cfg.train_dataloader.dataset.size
    assert size == cfg.model.image_size == {"tiny": 64, "paper": 224}[scale]
    assert cfg.model.text.layers == {"tiny": 4, "paper": 8}[scale]
    cfg.model.text.update(vocabulary=["a</w>"], width=24, heads=3)  # the published tower takes a second to build
    model = MODELS.build(cfg.model)
    losses = model(inputs={"image": torch.rand(2, 3, size, size), "tokens": batch["tokens"][:2]})
    assert torch.isfinite(total(losses))


def test_plain_baseline_differs_in_the_method_alone():
    clip, light = (
        load_config(f"pretrain/configs/{n}_resnet18.py", scale="paper").to_dict() for n in ("clip", "lightclip")
    )
    for cfg in (clip, light):
        for key in ("method", "run_name", "work_dir", "config_hash"):
            cfg.pop(key)
    assert (clip["model"].pop("type"), light["model"].pop("type")) == ("CLIP", "LightCLIP")
    light["model"].pop("image_size")
    assert clip == light
