"""The CLIP layouts against the real open_clip models with random weights: image and text features before and after."""

import copy
import dataclasses
import json

import pytest
import torch
from open_clip.model import CustomTextCLIP
from safetensors.torch import save_file
from torch.nn import functional
from torch.testing import assert_close

from backbones import load_encoder, load_text_state
from backbones.convert import convert_source, formats
from engine.errors import UserError
from tests.backbones.clip_models import HEADS, TEXT, VISION, converted_from, features, model_of, same, sentences
from tools.convert import main as convert_main


def test_openai_archive(tmp_path):
    model = model_of()
    reference = copy.deepcopy(model)
    for name, value in {"input_resolution": 32, "context_length": 12, "vocab_size": 49408}.items():
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(value))
    inputs = {"encode_image": torch.zeros(1, 3, 32, 32), "encode_text": sentences(1)}
    traced = torch.jit.trace_module(model, inputs, check_trace=False)
    with torch.no_grad():  # what halves loses is lost on both sides
        for mine, theirs in zip(traced.parameters(), reference.parameters(), strict=True):
            theirs.copy_(theirs.half())
            mine.data = mine.data.half()
    traced.save(tmp_path / "ViT-B-16.pt")
    converted = convert_source(tmp_path / "ViT-B-16.pt", **HEADS)
    assert converted.encoder["name"] == "vit_base_patch16_clip_quickgelu_224"
    assert set(converted.dropped) >= {"input_resolution", "context_length", "vocab_size"}
    assert all(value.dtype == torch.float32 for value in (*converted.state.values(), *converted.text_state.values()))
    same(reference, converted)


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_open_clip_at_the_root(quick_gelu):
    model = model_of(quick_gelu=quick_gelu)
    both = [converted_from(model.state_dict(), "open_clip", quick_gelu=flag, **HEADS) for flag in (True, False)]
    right, wrong = both if quick_gelu else reversed(both)
    same(model, right)
    for differs in ("encoder", "text"):  # the wrong activation is seen in either tower
        with pytest.raises(AssertionError, match="not close"):
            same(model, dataclasses.replace(right, **{differs: getattr(wrong, differs)}))


@torch.no_grad()
def test_another_size_resizes_positions_by_the_one_policy():
    """A 6 x 4 grid from one of 4 x 4: bicubic with antialiasing, the class token's position as it is."""
    model = model_of()
    converted = converted_from(model.state_dict(), "open_clip", quick_gelu=True, **HEADS)
    image, tokens = torch.randn(2, 3, 48, 32), sentences()
    table = model.visual.positional_embedding  # [1 + 16, C]
    grid = table[1:].T.reshape(1, -1, 4, 4)
    grid = functional.interpolate(grid, (6, 4), mode="bicubic", antialias=True, align_corners=False)  # [1, C, 6, 4]
    model.visual.positional_embedding = torch.nn.Parameter(torch.cat([table[:1], grid.flatten(2)[0].T]))
    assert_close(features(converted, image, tokens)[0], model.encode_image(image), atol=1e-5, rtol=1e-5)


def test_every_tensor_of_the_towers_matters():
    """So that the comparison above would fail if ln_pre, positions, a bias or a projection were lost."""
    model = model_of()
    converted = converted_from(model.state_dict(), "open_clip", quick_gelu=True, **HEADS)
    for part in ("state", "text_state"):
        tensors = getattr(converted, part)
        for key, value in tensors.items():
            # a norm that was never filled; anything else not there at all
            lost = torch.ones_like(value) if "norm" in key and key.endswith("weight") else torch.zeros_like(value)
            with pytest.raises(AssertionError, match="not close|not equal"):
                same(model, dataclasses.replace(converted, **{part: {**tensors, key: lost}}))


def test_open_clip_with_a_text_module_that_sees_everything():
    model = model_of(CustomTextCLIP, False, {"no_causal_mask": True}, {**VISION, "mlp_ratio": 4.3637, "width": 48})
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    converted = converted_from(state, "open_clip", quick_gelu=False, causal=False, heads=6, text_heads=3)
    same(model, converted)
    assert converted.renamed["norm_pre.weight"] == "module.visual.ln_pre.weight"


def test_a_wrapped_file_from_the_command_line(tmp_path):
    model = model_of(quick_gelu=False)
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "epoch_3.pt")
    options = ["--options", "quick_gelu=false", "heads=4", "text_heads=3"]
    convert_main([str(tmp_path / "epoch_3.pt"), str(tmp_path / "out"), *options])
    encoder, meta, _ = load_encoder(tmp_path / "out")
    assert meta["text"]["kwargs"]["eps"] == 1e-5
    assert load_text_state(tmp_path / "out")[0]["text.token_embedding.weight"].shape == (49409, 24)
    image = torch.randn(2, 3, 32, 32)
    model.visual.proj = None
    with torch.no_grad():
        assert_close(encoder.eval()(image), model.visual(image), atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def mobile():
    """open_clip's MobileCLIP-S form around the smallest FastViT, its running statistics set too."""
    vision = {"timm_model_name": "fastvit_mci0", "timm_proj": None, "timm_pool": "avg", "image_size": 64}
    torch.manual_seed(0)
    model = CustomTextCLIP(16, vision, {**TEXT, "no_causal_mask": True}).eval()
    for key, value in model.state_dict().items():
        if key.endswith("running_mean"):
            value.add_(0.1 * torch.randn_like(value))
    return model


def test_mobileclip_in_open_clip(mobile):
    converted = converted_from(mobile.state_dict(), "open_clip", text_heads=3)
    assert converted.encoder["name"] == "fastvit_mci0"
    assert converted.image == {"mean": [0.0] * 3, "std": [1.0] * 3, "size": 256}
    assert converted.dropped == {"visual.trunk.head.fc.bias": "zero"}
    same(mobile, converted, size=64)
    state = mobile.state_dict()
    state["visual.trunk.head.fc.bias"] = torch.arange(16.0)
    trained = converted_from(state, "open_clip", text_heads=3)
    assert torch.equal(trained.text_state["image_projection.bias"], torch.arange(16.0))


# Apple's own names for parts of open_clip's, replaced in this order
APPLE_IMAGE = (("stem", "patch_embed"), ("conv_kxk", "rbr_conv"), ("conv_scale", "rbr_scale"),
               ("identity", "rbr_skip"), ("final_conv", "conv_exp"), ("large_conv", "lkb_origin"),
               (".mlp.", ".convffn."), ("se.fc1", "se.reduce"), ("se.fc2", "se.expand"),
               ("layer_scale.gamma", "layer_scale"), (".gamma", ""), ("head.fc.weight", "head.proj"))  # fmt: skip
APPLE_TEXT = (("token_embedding", "embedding_layer"), ("ln_final", "final_layer_norm"),
              ("text_projection", "projection_layer"), ("resblocks.", ""), ("ln_1", "pre_norm_mha.0"),
              ("attn.in_proj_", "pre_norm_mha.1.qkv_proj."), ("attn.out", "pre_norm_mha.1.out"),
              ("ln_2", "pre_norm_ffn.0"), ("mlp.c_fc", "pre_norm_ffn.1"), ("mlp.c_proj", "pre_norm_ffn.4"),
              ("positional_embedding", "positional_embedding.pos_embed.pos_embed"))  # fmt: skip


def replaced(key, pairs):
    for old, new in pairs:
        key = key.replace(old, new)
    return key


def apple_places(trunk):
    """(beginning of open_clip's keys, of Apple's) for each part of the stages: Apple counts the parts through."""
    inner = {"downsample": "proj.", "pos_emb": "pos_enc.", "blocks": ""}
    letters = {"downsample": ".proj", "pos_emb": ".pe", "blocks": ""}
    parts = [(i, part) for i, stage in enumerate(trunk.stages) for part in inner
             if not isinstance(getattr(stage, part), torch.nn.Identity)]  # fmt: skip
    return [(f"stages.{i}.{part}.{inner[part]}", f"network.{position}{letters[part]}.")
            for position, (i, part) in enumerate(parts)]  # fmt: skip


def apple_names(model):
    """The state dict of open_clip's MobileCLIP-S under Apple's own names."""
    state = {"logit_scale": model.logit_scale.detach()}
    places = apple_places(model.visual.trunk)
    image = model.visual.trunk.state_dict()
    del image["head.fc.bias"]  # Apple has none
    image["head.fc.weight"] = image["head.fc.weight"].T
    for key, value in image.items():
        new = next((new + key.removeprefix(old) for old, new in places if key.startswith(old)), key)
        state[f"image_encoder.model.{replaced(new, APPLE_IMAGE)}"] = value
    text = model.text.state_dict()
    text["positional_embedding"] = text["positional_embedding"][None, None]
    return state | {f"text_encoder.{replaced(key, APPLE_TEXT)}": value for key, value in text.items()}


def test_mobileclip_in_apples_names(mobile):
    state = apple_names(mobile)
    converted = converted_from(state, "mobileclip", text_heads=3)
    same(mobile, converted, size=64)
    assert converted.renamed["image_projection.weight"] == "image_encoder.model.head.proj"
    state["text_encoder.transformer.0.token_mixer.weight"] = torch.zeros(3)  # S0's text tower has convolutions
    alone = converted_from(state, "mobileclip", text_heads=3)
    assert alone.text is None
    assert "only the image tower" in alone.dropped["text_encoder.transformer.0.token_mixer.weight"]


def hf_names(model):
    """The state dict of an open_clip model under the names of transformers' CLIPModel."""
    towers = {"visual.transformer.resblocks": "vision_model.encoder.layers"}
    towers["transformer.resblocks"] = "text_model.encoder.layers"
    parts = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
             "mlp.c_proj": "mlp.fc2"}  # fmt: skip
    whole = {
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1": "vision_model.embeddings.patch_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm",
        "token_embedding": "text_model.embeddings.token_embedding", "ln_final": "text_model.final_layer_norm",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
    }  # fmt: skip
    state = {"text_model.embeddings.position_ids": torch.arange(12)[None]}
    for key, value in model.state_dict().items():
        tower = next((old for old in towers if key.startswith(old)), None)
        if key in ("visual.proj", "text_projection"):
            name = "visual_projection" if key == "visual.proj" else "text_projection"
            state[f"{name}.weight"] = value.t().contiguous()
        elif tower is None:
            old = next((old for old in whole if key.startswith(old)), "logit_scale")
            state[key.replace(old, whole.get(old, old))] = value
        elif "in_proj" in key:
            stem, part = key.replace(tower, towers[tower]).split(".attn.in_proj_")
            for letter, third in zip("qkv", value.chunk(3), strict=True):
                state[f"{stem}.self_attn.{letter}_proj.{part}"] = third.clone()
        else:
            old = next(old for old in parts if old in key)
            state[key.replace(tower, towers[tower]).replace(old, parts[old])] = value
    return state


def test_hugging_face_folder(tmp_path):
    model = model_of(quick_gelu=False)
    save_file(hf_names(model), tmp_path / "model.safetensors")
    config = {"model_type": "clip", "vision_config": {"hidden_act": "gelu", "num_attention_heads": 4},
              "text_config": {"hidden_act": "gelu", "num_attention_heads": 3}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    converted = convert_source(tmp_path)
    same(model, converted)
    assert converted.image == {"mean": [0.5] * 3, "std": [0.25] * 3, "size": 32}
    assert converted.renamed["blocks.0.attn.qkv.bias"].count(" + ") == 2
    config["vision_config"]["layer_norm_eps"] = 1e-12
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="epsilon 1e-12"):
        convert_source(tmp_path)


def test_open_clip_folder(tmp_path):
    model = model_of(quick_gelu=True)
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    config = {"model_cfg": {"quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    same(model, convert_source(tmp_path))


@pytest.mark.parametrize(("options", "words"), [
    ({}, "quick_gelu=true"), ({"quick_gelu": True}, "heads=N"), ({"quick_gelu": True, "heads": 4}, "text_heads=N"),
])  # fmt: skip
def test_what_the_weights_do_not_tell_must_be_stated(options, words):
    with pytest.raises(UserError, match=words):
        formats()["open_clip"].convert(model_of().state_dict(), **options)


def test_another_vocabulary_leaves_the_image_tower():
    state = model_of(text={"vocab_size": 100}).state_dict()
    converted = converted_from(state, "open_clip", quick_gelu=True, **HEADS)
    assert converted.text is converted.text_state is None
    assert "100 tokens" in converted.dropped["token_embedding.weight"]


@pytest.mark.parametrize("lost", ["visual.ln_pre.weight", "visual.transformer.resblocks.1.attn.in_proj_bias"])
def test_a_missing_key_is_named(lost, tmp_path):
    state = model_of().state_dict()
    del state[lost]
    torch.save(state, tmp_path / "lost.pt")
    with pytest.raises(UserError, match=lost):
        convert_source(tmp_path / "lost.pt", quick_gelu=True, **HEADS)


def test_a_key_without_a_rule_is_named(tmp_path):
    torch.save({**model_of().state_dict(), "visual.ls_1.gamma": torch.ones(32)}, tmp_path / "more.pt")
    with pytest.raises(UserError, match=r"visual\.ls_1\.gamma"):
        convert_source(tmp_path / "more.pt", quick_gelu=True, **HEADS)
