"""open_clip's folders: each field that changes the computation is honoured or refused; our own exports come back."""

import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from backbones import load_encoder, save_checkpoint
from backbones.convert import convert_source
from backbones.convert.to_open_clip import to_open_clip
from backbones.text import TextTower
from engine.errors import UserError
from tests.backbones.clip_models import TEXT, VISION, features, model_of, same, sentences


def folder_of(path, model, vision=None, text=None, **top):
    path.mkdir(exist_ok=True)
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, path / "open_clip_model.safetensors"
    )
    model_cfg = {
        "embed_dim": 16,
        "vision_cfg": {**VISION, **(vision or {})},
        "text_cfg": {**TEXT, **(text or {})},
        **top,
    }
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}))
    return path


@pytest.mark.parametrize(("field", "value"), [
    ("pool_type", "avg"), ("pool_type", "none"), ("final_ln_after_pool", True), ("attentional_pool", True),
    ("pos_embed_type", "sin_cos_2d"), ("norm_kwargs", {"eps": 1e-3}), ("act_kwargs", {"approximate": "tanh"}),
    ("ls_init_value", 0.1), ("qk_norm", True), ("block_type", "custom"), ("a_field_of_tomorrow", 3),
])  # fmt: skip
def test_vision_fields_are_refused_by_name(tmp_path, field, value):
    with pytest.raises(UserError, match=field):
        convert_source(folder_of(tmp_path / "clip", model_of(), {field: value}, quick_gelu=True))


@pytest.mark.parametrize(("field", "value"), [
    ("pool_type", "last"), ("pool_type", "first"), ("proj_type", "none"), ("mlp_ratio", 2.0), ("embed_cls", True),
    ("hf_model_name", "xlm-roberta-base"), ("final_ln_after_pool", True), ("a_field_of_tomorrow", 3),
])  # fmt: skip
def test_text_fields_leave_the_tower_out_with_the_reason(tmp_path, field, value):
    model = model_of(quick_gelu=True)
    converted = convert_source(folder_of(tmp_path / "clip", model, text={field: value}, quick_gelu=True))
    assert converted.text is None and field in converted.dropped["token_embedding.weight"]


def test_an_epsilon_of_the_text_tower_is_honoured(tmp_path):
    eps = {"norm_kwargs": {"eps": 1e-3}}
    model = model_of(quick_gelu=True, text=eps)
    converted = convert_source(folder_of(tmp_path / "clip", model, text=eps, quick_gelu=True))
    assert converted.text["kwargs"]["eps"] == 1e-3
    with torch.no_grad():
        model.ln_final.eps = 1e-5  # the one norm whose epsilon the suite's tower does not take
    same(model, converted)


def test_a_bare_siglip_has_its_own_constants(tmp_path):
    state = {**model_of().state_dict(), "logit_bias": torch.tensor(-10.0)}
    torch.save(state, tmp_path / "siglip.pt")
    converted = convert_source(tmp_path / "siglip.pt", quick_gelu=True, heads=4, text_heads=3)
    assert converted.method == "siglip" and converted.image["mean"] == converted.image["std"] == [0.5] * 3


@pytest.mark.parametrize(("name", "kwargs"), [
    ("vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 4}), ("mobilenetv2_035", {}),
])  # fmt: skip
def test_our_own_export_comes_back(tmp_path, make_meta, randomised, name, kwargs):
    """As pretraining writes it: epsilon 1e-6, no norm before the blocks, a bias in the patches."""
    encoder = randomised(name, kwargs).eval()
    text = TextTower(16, "clip", context=12, width=24, layers=2, heads=3).eval()
    state = {f"text.{key}": value for key, value in text.state_dict().items()}
    state |= {"image_projection.weight": torch.randn(16, encoder.num_features), "logit_scale": torch.tensor(2.0)}
    meta = make_meta({"name": name, "kwargs": kwargs})
    meta["text"] = {"kwargs": text.kwargs, "vocabulary": "clip", "embed_dim": 16}
    meta["image"]["size"] = 32
    save_checkpoint(tmp_path / "ours", encoder, meta, state)
    to_open_clip(tmp_path / "ours", tmp_path / "out")
    converted = convert_source(tmp_path / "out")
    images, rows = torch.randn(2, 3, 32, 32), sentences()
    with torch.no_grad():
        found = features(converted, images, rows)
        theirs = open_clip.create_model(f"local-dir:{tmp_path / 'out'}").eval()
        wanted = encoder(images) @ state["image_projection.weight"].T, text(rows)
        for own, original, outside in zip(
            found, wanted, (theirs.encode_image(images), theirs.encode_text(rows)), strict=True
        ):
            torch.testing.assert_close(own, original, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(own, outside, atol=1e-3, rtol=1e-3)  # their last norm has another epsilon
    assert converted.image["mean"] == meta["image"]["mean"]
    assert load_encoder(tmp_path / "ours")[1]["method"] == "mae"
