"""tools/convert.py: in and out by the command line, with the ledger in the checkpoint."""

import json

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from backbones import load_encoder, read_checkpoint
from backbones.convert import Converted
from backbones.convert.bring import bring_in
from backbones.convert.families import data_of, family_of
from backbones.ledger import read_ledger
from engine import files
from engine.errors import UserError
from tools.convert import main

KWARGS = {"img_size": 32, "depth": 2}


@pytest.fixture
def source(tmp_path):
    """A MAE file with its decoder, and its encoder."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **KWARGS).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape))
        model.pos_embed[:, 0] = 0
    decoder = {"mask_token": torch.zeros(1, 1, 4), "decoder_pos_embed": torch.zeros(1, 5, 4)}
    torch.save({"model": model.state_dict() | decoder}, tmp_path / "mae.pth")
    return tmp_path / "mae.pth", model


def test_in_and_out_again(source, tmp_path, capsys):
    path, model = source
    main([str(path), str(tmp_path / "in")])
    printed = capsys.readouterr().out
    assert "2 dropped" in printed and "dropped mask_token: it stands for hidden patches" in printed
    encoder, meta, _ = load_encoder(tmp_path / "in")
    assert (meta["method"], meta["parent"], meta["config_hash"]) == ("mae", None, files.sha256(path))
    (tmp_path / "ledger.json").write_text(json.dumps(meta["ledger"]))
    assert len(read_ledger(tmp_path / "ledger.json").dropped) == 2
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = model.forward_features(x)
        torch.testing.assert_close(encoder.eval().forward_features(x), wanted, atol=1e-5, rtol=0)

    for name in ("out.safetensors", "out.pth"):
        main([str(tmp_path / "in"), str(tmp_path / name), "--to", "timm"])
        call = capsys.readouterr().out.strip()
        assert call.startswith("timm.create_model('vit_tiny_patch16_224', checkpoint_path=")
        again = timm.create_model(
            "vit_tiny_patch16_224", checkpoint_path=str(tmp_path / name), num_classes=0, **KWARGS
        ).eval()
        with torch.no_grad():
            torch.testing.assert_close(again.forward_features(x), wanted, atol=1e-5, rtol=0)

    main([str(tmp_path / "in"), str(tmp_path / "all.safetensors"), "--to", "safetensors"])
    stored = load_file(tmp_path / "all.safetensors")
    assert {key.removeprefix("encoder.") for key in stored} == set(encoder.state_dict())
    with safe_open(tmp_path / "all.safetensors", "pt") as handle:
        assert json.loads(handle.metadata()["densebench"]) == read_checkpoint(tmp_path / "in")


def test_names_sources_and_families(source, tmp_path):
    path, _ = source
    main([str(path), str(tmp_path / "a")])
    meta = read_checkpoint(tmp_path / "a")
    assert (meta["name"], meta["source"], meta["family"]) == ("mae", "mae.pth", "mae")
    main([str(path), str(tmp_path / "b"), "--name", "MAE ViT-Ti"])
    assert read_checkpoint(tmp_path / "b")["name"] == "MAE ViT-Ti"
    assert read_checkpoint(tmp_path / "b")["data"]["name"] == "published"
    main([str(path), str(tmp_path / "c"), "--pretrained-on", "our 12 M"])
    assert read_checkpoint(tmp_path / "c")["data"]["name"] == "our 12 M"
    with pytest.raises(UserError, match="--name"):
        main([str(tmp_path / "a"), str(tmp_path / "x.pth"), "--to", "timm", "--name", "x"])


@pytest.mark.parametrize(("method", "tag", "family"), [
    ("timm", "timm:convnext_tiny.dinov3_lvd1689m", "dino"), ("timm", "vit_base_patch16_224.augreg_in21k", "supervised"),
    ("timm", "vit_base_patch16_siglip_224.webli", "siglip"), ("timm", "vit_base_patch16_224.mae", "mae"),
    ("timm", "vit_base_patch16_clip_224.openai", "clip"),
    ("timm", "vit_base_patch16_clip_224.openai_ft_in1k", "supervised"),
    ("timm", "resnet18", "unknown"), ("datacompdr", "", "clip"), ("mae", "", "mae"),
])  # fmt: skip
def test_families_of_published_tags(method, tag, family):
    assert family_of(Converted({}, {}, {}, {}, method), tag) == family


@pytest.mark.parametrize(("tag", "data"), [
    ("timm:convnext_tiny.dinov3_lvd1689m", "LVD-1689M"),
    ("eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", "ImageNet-22k, then ImageNet-1k"),
    ("vit_base_patch16_clip_224.laion2b_ft_in12k_in1k", "LAION-2B, then ImageNet-12k, then ImageNet-1k"),
    ("resnet18", None), ("hf:facebook/dinov2-small", None), ("hf:timm/resnet18.a1_in1k", "ImageNet-1k"),
])  # fmt: skip
def test_data_of_published_tags(tag, data):
    assert data_of(tag) == data


def test_timm_gets_the_images_constants_with_the_file(source, tmp_path, capsys):
    """The printed call is run as it stands."""
    main([str(source[0]), str(tmp_path / "in")])
    main([str(tmp_path / "in"), str(tmp_path / "out.safetensors"), "--to", "timm"])
    model = eval(capsys.readouterr().out.strip().splitlines()[-1], {"timm": timm})
    data = timm.data.resolve_model_data_config(model)
    assert data["mean"] == pytest.approx((0.485, 0.456, 0.406)) and data["std"] == pytest.approx((0.229, 0.224, 0.225))
    assert data["input_size"] == (3, 32, 32)


def test_relative_positions_reach_timm(tmp_path, make_checkpoint):
    kwargs = {"img_size": 32, "embed_dim": 48, "depth": 2, "num_heads": 4, "init_values": 0.1, "use_abs_pos_emb": False,
              "use_shared_rel_pos_bias": True}  # fmt: skip
    encoder = make_checkpoint(tmp_path / "beit", "beit_base_patch16_224", kwargs)
    main([str(tmp_path / "beit"), str(tmp_path / "beit.safetensors"), "--to", "timm"])
    again = timm.create_model(
        "beit_base_patch16_224", checkpoint_path=str(tmp_path / "beit.safetensors"), num_classes=0, **kwargs
    ).eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again.forward_features(x), encoder.eval().forward_features(x), atol=1e-5, rtol=0)


@pytest.fixture
def make_checkpoint():
    def make(folder, name, kwargs, text=None, text_state=None):
        from backbones import build_encoder, save_checkpoint

        encoder = build_encoder(name, kwargs)
        meta = {
            "method": "clip", "captions": None, "seed": 0, "scale": "tiny", "encoder": {"name": name, "kwargs": kwargs},
            "image": {"mean": [0.5] * 3, "std": [0.5] * 3, "size": 32}, "data": {"name": "scenes", "samples": 1},
            "samples_seen": 0, "updates": 0, "config_hash": "a", "code_version": "0", "parent": None, "ledger": None,
            "cost": {"wall_s": None, "samples_per_s": None, "peak_memory_mib": None, "hardware": None}, "text": text,
        }  # fmt: skip
        save_checkpoint(folder, encoder, meta, text_state)
        return encoder

    return make


def test_safetensors_keep_the_text_tower(tmp_path, make_checkpoint):
    text = {"kwargs": {}, "vocabulary": "clip", "embed_dim": 4}
    weights = {"text.projection.weight": torch.randn(4, 4), "logit_scale": torch.tensor(1.5)}
    make_checkpoint(tmp_path / "clip", "vit_tiny_patch16_224", KWARGS, text, weights)
    main([str(tmp_path / "clip"), str(tmp_path / "clip.safetensors"), "--to", "safetensors"])
    stored = load_file(tmp_path / "clip.safetensors")
    assert all(torch.equal(stored[key], value) for key, value in weights.items())


def test_bad_input_is_one_sentence(source, tmp_path):
    path, _ = source
    main([str(path), str(tmp_path / "in")])
    for words, part in (
        ([str(tmp_path / "in"), "x.onnx", "--to", "timm"], "suffix"),
        ([str(tmp_path / "in"), "x.pth", "--to", "timm", "--format", "mae"], "--format"),
        ([str(tmp_path / "nothing"), "x.pth", "--to", "timm"], "does not exist"),
    ):
        with pytest.raises(UserError, match=part):
            main(words)
    with pytest.raises(UserError, match="no file"):
        main([str(tmp_path / "no.pth"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_images_of_an_impossible_size_are_refused(monkeypatch, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"")
    for size in (32000, "large"):
        found = Converted({}, {}, {}, {"size": size}, "timm")
        monkeypatch.setattr("backbones.convert.bring.convert_source", lambda *_args, found=found, **_words: found)
        with pytest.raises(UserError, match=f"{size} pixels a side"):
            bring_in(str(tmp_path / "a.safetensors"), str(tmp_path / "out"), "timm", {})
