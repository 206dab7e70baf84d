"""MAE, DeiT, MAWS, DINO, MoCo v3, SLIP and timm files: features equal the source's, and every key has its place."""

import argparse

import open_clip
import pytest
import timm
import torch
from torch import nn

from backbones import build_encoder, load_exactly
from backbones.convert import convert_source
from backbones.convert.vit import describe_vit, has_fixed_positions
from engine.errors import UserError

WIDTH, DEPTH, SIZE = 192, 2, 32
MAWS_2B = {"patch_size": 14, "embed_dim": 2560, "depth": 24, "num_heads": 32}


def random_vit(name="vit_tiny_patch16_224", seed=0, **kwargs):
    """timm's own model, every parameter random: what the published trainings saved."""
    model = timm.create_model(name, **{"img_size": SIZE, "depth": DEPTH, "num_classes": 0, **kwargs}).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return model


def fixed(model):
    """The class token without a position, as in a sine-cosine table."""
    with torch.no_grad():
        model.pos_embed[:, 0] = 0
    return model


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def noise(*names):
    return {name: torch.randn(3, 5) for name in names}


def images(*shape):
    return torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(7))


def same_features(converted, model, tolerance=1e-5):
    """Tokens at the native size, and at another against timm's own policy for positions."""
    encoder = build_encoder(**converted.encoder).eval()
    load_exactly(encoder, converted.state)
    with torch.no_grad():
        x = images(SIZE, SIZE)
        torch.testing.assert_close(encoder.forward_features(x), model.forward_features(x), atol=tolerance, rtol=0)
        torch.testing.assert_close(encoder(x), model(x), atol=tolerance, rtol=0)
        model.set_input_size(img_size=(48, 32))
        x = images(48, 32)
        torch.testing.assert_close(encoder.forward_features(x), model.forward_features(x), atol=tolerance, rtol=0)


def refused(call, *words):
    with pytest.raises(UserError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.fixture
def save(tmp_path):
    def write(content, name="foreign.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def test_mae_with_and_without_decoder(save):
    model = fixed(random_vit())
    alone = convert_source(save({"model": model.state_dict()}))
    decoder = noise("decoder_embed.weight", "decoder_pos_embed", "mask_token")
    shown = convert_source(save({"model": model.state_dict() | decoder}))
    for converted in (alone, shown):
        assert converted.method == "mae"
        assert converted.encoder == {"name": "vit_tiny_patch16_224", "kwargs": {"img_size": SIZE, "depth": DEPTH}}
        assert torch.equal(converted.state["pos_embed"], model.pos_embed)
    assert set(shown.dropped) == set(decoder)
    assert alone.image == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": SIZE}
    same_features(shown, model)


def test_fine_tuned_mae_reads_the_mean_of_tokens(save):
    model = random_vit(global_pool="avg", num_classes=5)
    converted = convert_source(save({"model": model.state_dict()}), "mae")
    assert set(converted.dropped) == {"head.weight", "head.bias"}
    model.reset_classifier(0)
    same_features(converted, model)


def test_deit_drops_its_classifier(save):
    model = random_vit(num_classes=7)
    converted = convert_source(save({"model": model.state_dict()}), "deit")
    assert (converted.method, set(converted.dropped)) == ("supervised", {"head.weight", "head.bias"})
    model.reset_classifier(0)
    same_features(converted, model)


def test_distilled_deit_keeps_its_token(save):
    model = random_vit("deit_tiny_distilled_patch16_224", num_classes=7)
    converted = convert_source(save({"model": model.state_dict()}))
    assert converted.encoder["name"] == "deit_tiny_distilled_patch16_224"
    assert set(converted.dropped) == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    model.reset_classifier(0)
    same_features(converted, model)


def test_maws(save):
    model = random_vit()
    converted = convert_source(save(model.state_dict()), "maws")
    assert converted.method == "wsp"
    same_features(converted, model)


def test_maws_clip_leaves_its_xlmr_tower(save):
    model = random_vit()
    rest = noise("text_encoder.encoder.transformer.layers.0.norm1.weight", "text_projection", "vision_projection")
    rest["logit_scale"] = torch.tensor(2.0)
    converted = convert_source(save(under("vision_encoder.", model.state_dict()) | rest))
    assert (converted.method, converted.text, set(converted.dropped)) == ("clip", None, set(rest))
    same_features(converted, model)


def test_dino_backbone(save):
    model = random_vit("vit_small_patch16_224")
    same_features(convert_source(save(model.state_dict()), "dino"), model)


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_dino_full_file_gives_the_teacher(save, wrapper):
    student, teacher = random_vit(seed=1), random_vit(seed=2)
    head = noise("head.mlp.0.weight", "head.last_layer.weight_v")
    content = {
        "student": under("module.backbone.", student.state_dict()) | under("module.", head),
        "teacher": under(wrapper + "backbone.", teacher.state_dict()) | under(wrapper, head),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_tiny", lr=5e-4),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }
    converted = convert_source(save(content))
    assert converted.method == "dino"
    assert len(converted.dropped) == len(student.state_dict()) + 2 * len(head)
    same_features(converted, teacher)


def test_moco_v3_small_has_12_heads(save):
    model = fixed(random_vit("vit_small_patch16_224", num_heads=12))
    state = under("module.base_encoder.", model.state_dict() | noise("head.0.weight", "head.1.running_mean"))
    state |= under("module.momentum_encoder.", random_vit("vit_small_patch16_224", seed=3).state_dict())
    state |= noise("module.predictor.0.weight")
    content = {"epoch": 300, "arch": "vit_small", "state_dict": state, "optimizer": {}, "scaler": {"scale": 65536.0}}
    converted = convert_source(save(content, "vit-s-300ep.pth.tar"))
    assert (converted.method, converted.encoder["kwargs"]["num_heads"]) == ("moco_v3", 12)
    assert len(converted.state) + len(converted.dropped) == len(state)
    same_features(converted, model)


def slip_state(model, projector):
    """The published names, around open_clip's text tower, which is the one SLIP copied from OpenAI."""
    text = open_clip.transformer.TextTransformer(
        context_length=8, width=64, heads=1, layers=2, output_dim=16, act_layer=open_clip.transformer.QuickGELU
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for value in text.parameters():
            value.add_(0.05 * torch.randn(value.shape))
    state = {key: value for key, value in text.state_dict().items() if key != "attn_mask"}
    state |= under("visual.", model.state_dict())
    state |= {"image_projection": torch.randn(WIDTH, 16), "logit_scale": torch.tensor(3.0)}
    state |= noise("image_mlp.layer1.weight", "image_mlp.bn1.running_mean") if projector else {}
    return under("module.", state), text.eval()


@pytest.mark.parametrize(("projector", "method"), [(True, "slip"), (False, "clip")])
def test_slip_brings_both_towers(save, projector, method):
    from backbones.text import END, START, TextTower

    model = random_vit()
    state, text = slip_state(model, projector)
    converted = convert_source(save({"epoch": 25, "state_dict": state, "args": argparse.Namespace(lr=3e-3)}))
    assert converted.method == method
    assert len(converted.dropped) == 2 * projector
    same_features(converted, model)

    tower = TextTower(converted.text["embed_dim"], converted.text["vocabulary"], **converted.text["kwargs"]).eval()
    ours = {key.removeprefix("text."): v for key, v in converted.text_state.items() if key.startswith("text.")}
    load_exactly(tower, ours)
    tokens = torch.tensor([[START, 320, 1125, END, 0, 0, 0, 0], [START, 5, 6, 7, 8, 9, 10, END]])
    with torch.no_grad():
        torch.testing.assert_close(tower(tokens), text(tokens), atol=1e-5, rtol=0)
        projection = nn.functional.linear(images(1, WIDTH), converted.text_state["image_projection.weight"])
    torch.testing.assert_close(projection, images(1, WIDTH) @ state["module.image_projection"])
    assert converted.text_state["logit_scale"] == 3.0


def test_slip_with_another_vocabulary_keeps_its_image_tower(save):
    model = random_vit()
    state, _ = slip_state(model, projector=True)
    state["module.token_embedding.weight"] = torch.randn(30, 64)
    converted = convert_source(save({"state_dict": state}))
    assert (converted.text, converted.text_state) == (None, None)
    assert "30 tokens" in converted.dropped["module.token_embedding.weight"]
    same_features(converted, model)


def test_simclr_of_slip(save):
    model = random_vit("vit_small_patch16_224", num_heads=12)
    state = under("module.visual.", model.state_dict()) | noise("module.image_mlp.layer1.weight")
    converted = convert_source(save({"state_dict": state}))
    assert (converted.method, converted.text) == ("simclr", None)
    same_features(converted, model)


def test_timm_by_name_takes_normalisation_from_the_tag(save):
    model = timm.create_model("resnet18").eval()
    converted = convert_source(save(model.state_dict()), "timm", model="resnet18.a1_in1k")
    assert set(converted.dropped) == {"fc.weight", "fc.bias"}
    encoder = build_encoder(**converted.encoder).eval()
    load_exactly(encoder, converted.state)
    x = images(64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder.forward_features(x), model.forward_features(x))
    model = random_vit(depth=12, img_size=48)
    converted = convert_source(save(model.state_dict()), "timm", model="vit_tiny_patch16_224.augreg_in21k")
    assert converted.image == {"mean": [0.5] * 3, "std": [0.5] * 3, "size": 48}
    assert converted.encoder["kwargs"] == {"img_size": 48}


def test_positions_of_no_place_are_not_fixed_ones():
    assert has_fixed_positions({"pos_embed": torch.zeros(1, 5, 3)})
    assert not has_fixed_positions({"pos_embed": torch.zeros(1, 0, 3)}) and not has_fixed_positions({})


def test_layouts_that_several_share_are_asked_for(save):
    refused(lambda: convert_source(save(random_vit().state_dict())), "dino, maws, timm", "--format")
    refused(lambda: convert_source(save(random_vit(num_classes=3).state_dict())), "deit, timm", "--format")


def test_what_the_file_does_not_tell_is_stated(save):
    model = random_vit(embed_dim=48, num_heads=4)
    path = save(model.state_dict())
    refused(lambda: convert_source(path, "dino"), "48 wide", "heads=N")
    same_features(convert_source(path, "dino", heads=4), model)
    refused(lambda: convert_source(path, "dino", head=4), "'head'", "heads")
    refused(lambda: convert_source(path, "timm"), "model=NAME.TAG")
    refused(lambda: convert_source(path, "timm", model="vit_tiny_patch16_224.nobody"), "nobody", "augreg_in21k")
    refused(lambda: convert_source(path, "dyno"), "'dyno'", "dino")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("blocks.1.mlp.fc2.bias"), ["blocks.1.mlp.fc2.bias"]),
        (lambda state: state.pop("pos_embed"), ["pos_embed", "missing"]),
        (lambda state: state.update(extra=torch.zeros(2)), ["extra"]),
        (lambda state: state.update({"norm.bias": torch.zeros(7)}), ["norm.bias", "7", "192"]),
        (lambda state: state.update(pos_embed=torch.zeros(1, 8, WIDTH)), ["pos_embed", "no square grid"]),
        (lambda state: state.update(pos_embed=torch.zeros(5, WIDTH)), ["pos_embed", "shape"]),
    ],
)
def test_missing_extra_and_reshaped_keys_are_named(save, change, words):
    state = random_vit().state_dict()
    change(state)
    refused(lambda: convert_source(save({"model": state}), "mae"), *words)


def test_extra_keys_beside_a_prefix_are_named(save):
    state = under("module.base_encoder.", fixed(random_vit()).state_dict()) | noise("module.queue")
    refused(lambda: convert_source(save({"state_dict": state})), "module.queue", "no rule")


def test_unknown_layout_is_named(save):
    refused(lambda: convert_source(save({"state_dict": noise("conv9.weight")})), "no known layout", "conv9.weight")


@pytest.mark.parametrize(
    ("name", "kwargs", "named", "stated"),
    [
        ("vit_small_patch8_224", {}, "vit_small_patch8_224", {}),
        ("vit_base_patch16_224", {"img_size": 384}, "vit_base_patch16_224", {"img_size": 384}),
        ("vit_huge_patch14_224", {}, "vit_huge_patch14_224", {}),
        ("deit_base_distilled_patch16_384", {}, "deit_base_distilled_patch16_224", {"img_size": 384}),
        ("vit_base_patch16_224", MAWS_2B, "vit_base_patch16_224", MAWS_2B),
    ],
)
def test_published_sizes_are_read_off_shapes(name, kwargs, named, stated):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0, **kwargs)
        encoder, size = describe_vit(model.state_dict())
        again = build_encoder(**encoder)
    assert encoder == {"name": named, "kwargs": stated}
    assert size == kwargs.get("img_size", 384 if name.endswith("384") else 224)
    assert again.blocks[0].attn.num_heads == model.blocks[0].attn.num_heads
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
