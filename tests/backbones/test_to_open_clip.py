"""The way out to open_clip: what it builds from the folder has the features of the checkpoint."""

import open_clip
import pytest
import torch
from torch.testing import assert_close

from backbones import build_encoder, load_encoder, load_text_state, save_checkpoint
from backbones.convert import Converted
from backbones.text import TextTower
from engine.errors import UserError
from tests.backbones.clip_models import VISION, converted_from, features, model_of, sentences
from tools.convert import main as convert_main


def stored(folder, converted, make_meta):
    """Write what was converted, or made here, as a checkpoint folder; returns it."""
    encoder = build_encoder(**converted.encoder)
    encoder.load_state_dict(converted.state)
    meta = {**make_meta(converted.encoder), "image": converted.image, "text": converted.text}
    save_checkpoint(folder, encoder, meta, converted.text_state)
    return folder


def opened(folder, out):
    """open_clip's own model from what `--to open_clip` writes; it refuses a key too many or too few."""
    convert_main([str(folder), str(out), "--to", "open_clip"])
    return open_clip.create_model(f"local-dir:{out}").eval()


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_there_and_back(quick_gelu, tmp_path, make_meta):
    model = model_of(quick_gelu=quick_gelu, vision={**VISION, "width": 48, "mlp_ratio": 4.3637})
    options = {"quick_gelu": quick_gelu, "heads": 6, "text_heads": 3}
    converted = converted_from(model.state_dict(), "open_clip", **options)
    again = opened(stored(tmp_path / "in", converted, make_meta), tmp_path / "out")
    image, tokens = torch.randn(2, 3, 32, 32), sentences()
    with torch.no_grad():
        assert_close(again.encode_image(image), model.encode_image(image), atol=1e-5, rtol=1e-5)
        assert_close(again.encode_text(tokens), model.encode_text(tokens), atol=1e-5, rtol=1e-5)
    preprocess = open_clip.get_model_preprocess_cfg(again)
    assert list(preprocess["mean"]) == converted.image["mean"]
    assert list(preprocess["std"]) == converted.image["std"]


def made_here(name, kwargs, words, randomised, bias=False, size=32):
    """A contrastive checkpoint as pretraining leaves it, with a compact vocabulary."""
    text = TextTower(16, words, context=12, width=24, layers=2, heads=3)
    torch.manual_seed(1)
    state = {f"text.{key}": value + 0.3 * torch.randn_like(value) for key, value in text.state_dict().items()}
    encoder = randomised(name, kwargs)
    state["image_projection.weight"] = torch.randn(16, encoder.num_features)
    if bias:
        state["image_projection.bias"] = torch.randn(16)
    state["logit_scale"] = torch.tensor(3.0)
    image = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": size}
    named = {"name": name, "kwargs": kwargs}
    return Converted(named, encoder.state_dict(), {}, image, "clip", {}, {}, text.meta(), state)


WORDS = ["<start_of_text>", "<end_of_text>", "red</w>", "cube</w>"]


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_base_patch16_clip_224"])
def test_a_vit_trained_here_opens_in_open_clip(name, tmp_path, randomised, make_meta):
    kwargs = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    mine = made_here(name, kwargs, WORDS, randomised)
    model = opened(stored(tmp_path / "in", mine, make_meta), tmp_path / "out")
    tokens = open_clip.get_tokenizer("ViT-B-32", context_length=12)(["a red cube", "an unknown thing", "cube"])
    image = torch.randn(2, 3, 32, 32)
    got = features(mine, image, tokens)
    assert_close(model.encode_image(image), got[0], atol=1e-5, rtol=1e-5)
    assert_close(model.encode_text(tokens), got[1], atol=1e-4, rtol=1e-4)  # the last norm's epsilon
    assert model.logit_scale == 3.0


@torch.no_grad()
def test_any_other_tower_opens_by_its_timm_name(tmp_path, randomised, make_meta):
    mine = made_here("resnet18", {}, WORDS, randomised, bias=True, size=64)
    model = opened(stored(tmp_path / "in", mine, make_meta), tmp_path / "out")
    image = torch.randn(2, 3, 64, 64)
    assert_close(model.encode_image(image), features(mine, image, sentences())[0], atol=1e-4, rtol=1e-5)


def test_what_open_clip_cannot_build_is_said(tmp_path, randomised, make_meta):
    mine = made_here("vit_tiny_patch16_224", {"img_size": 32, "depth": 2, "class_token": False, "global_pool": "avg"},
                     WORDS, randomised)  # fmt: skip
    with pytest.raises(UserError, match="by its name alone"):
        convert_main([str(stored(tmp_path / "in", mine, make_meta)), str(tmp_path / "out"), "--to", "open_clip"])


VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


@torch.no_grad()
@pytest.mark.parametrize(
    "name, kwargs, size, bias",
    [("vit_tiny_patch16_224", VIT, 32, False), ("vit_base_patch16_clip_224", VIT, 32, False),
     ("resnet18", {}, 64, True), ("mobilenetv2_100", {}, 64, False)],
)  # fmt: skip
def test_what_goes_out_comes_back(name, kwargs, size, bias, tmp_path, randomised, make_meta):
    """The folder that `--to open_clip` writes is one that tools/convert.py reads, with the features of the start."""
    mine = made_here(name, kwargs, WORDS, randomised, bias=bias, size=size)
    convert_main([str(stored(tmp_path / "in", mine, make_meta)), str(tmp_path / "out"), "--to", "open_clip"])
    convert_main([str(tmp_path / "out"), str(tmp_path / "again")])
    encoder, meta, _ = load_encoder(tmp_path / "again")
    again = Converted(meta["encoder"], encoder.state_dict(), {}, meta["image"], "clip", {}, {}, meta["text"],
                      load_text_state(tmp_path / "again")[0])  # fmt: skip
    image, tokens = torch.randn(2, 3, size, size), sentences()
    for now, before in zip(features(again, image, tokens), features(mine, image, tokens), strict=True):
        assert_close(now, before, atol=1e-5, rtol=1e-5)
    assert again.image == mine.image
