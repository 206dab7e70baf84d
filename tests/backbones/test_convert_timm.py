"""Files of timm models: timm's keys, official names through timm's filters, hub folders, wrappers, and the caches.

The originals are timm's own models with every tensor random; official names are made by undoing, name by name, what the
authors' repositories call the parts.
"""

import json
import re
import shutil

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from backbones import build_encoder, load_exactly
from backbones.convert import convert_source, formats
from backbones.convert.hub import locate
from engine.errors import UserError

CONSTANTS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
VIT = {"img_size": 56, "embed_dim": 48, "depth": 2, "num_heads": 3}


def random_model(name, seed=0, **kwargs):
    """timm's model with every parameter and running statistic random."""
    model = timm.create_model(name, **kwargs).eval()
    generator = torch.Generator().manual_seed(seed)
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            value.add_(0.05 * noise.abs() if "running_var" in key else 0.05 * noise)
    return model


@torch.no_grad()
def same(converted, model, size=(56, 84)):
    encoder = build_encoder(**converted.encoder).eval()
    load_exactly(encoder, converted.state)
    if hasattr(model, "set_input_size"):
        model.set_input_size(img_size=size)
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(encoder.forward_features(x), model.forward_features(x), atol=1e-5, rtol=1e-4)


def saved(path, state):
    torch.save(state, path)
    return path


def refused(call, *words):
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(error.value)


def renamed(state, *rules):
    """Keys after each (pattern, replacement) in turn."""
    result = {}
    for key, value in state.items():
        for pattern, new in rules:
            key = re.sub(pattern, new, key)
        result[key] = value
    return result


def dinov2(registers):
    """(Meta's names, timm's model)."""
    name = "vit_small_patch14_reg4_dinov2" if registers else "vit_small_patch14_dinov2"
    model = random_model(name, num_classes=0, **VIT)
    state = dict(model.state_dict())
    if registers:
        state["register_tokens"] = state.pop("reg_token")
        row = torch.randn(1, 1, 48)
        state["pos_embed"] = torch.cat([row, state["pos_embed"]], dim=1)
        state["cls_token"] = state["cls_token"] - row
    return state | {"mask_token": torch.randn(1, 48)}, model, name


@pytest.mark.parametrize("registers", [False, True])
def test_metas_dinov2(tmp_path, registers):
    state, model, name = dinov2(registers)
    options = {"model": f"{name}.lvd142m", "kwargs": {k: VIT[k] for k in ("embed_dim", "depth", "num_heads")}}
    converted = convert_source(saved(tmp_path / "dinov2.pth", state), "timm", **options)
    assert "mask_token" in converted.dropped and set(converted.dropped) == {"mask_token"}
    assert converted.encoder["kwargs"]["img_size"] == 56 and converted.image["size"] == 56
    same(converted, model)
    if registers:
        assert converted.renamed["cls_token"] == "cls_token + pos_embed"
        assert converted.renamed["reg_token"] == "register_tokens"
    # every tensor matters or is named in the ledger
    for key in state:
        if key in converted.dropped:
            continue
        changed = formats()["timm"].convert({**state, key: state[key] + 1}, **options)
        assert any(not torch.equal(changed.state[k], v) for k, v in converted.state.items()), key


def test_metas_dinov2_tells_its_model_by_its_width(tmp_path):
    model = random_model("vit_small_patch14_reg4_dinov2", num_classes=0, img_size=28)
    state = dict(model.state_dict())
    state |= {"register_tokens": state.pop("reg_token"), "mask_token": torch.randn(1, 384)}
    state["pos_embed"] = torch.cat([torch.zeros(1, 1, 384), state["pos_embed"]], dim=1)
    path = saved(tmp_path / "dinov2_vits14_reg4_pretrain.pth", {f"module.{key}": v for key, v in state.items()})
    converted = convert_source(path)
    assert (converted.method, converted.family) == ("dino", "dino") and converted.image["size"] == 28
    assert converted.image["mean"] == pytest.approx([0.485, 0.456, 0.406]) and set(converted.dropped) == {
        "module.mask_token"}  # fmt: skip
    same(converted, model)


def test_a_teacher_of_dinov2s_training(tmp_path):
    """{"teacher"}: the encoder below backbone., its blocks in chunks of global numbers, and both heads."""
    model = random_model("vit_small_patch14_dinov2", num_classes=0, img_size=28)
    state = dict(model.state_dict()) | {"mask_token": torch.randn(1, 384)}
    chunked = {re.sub(r"^blocks\.(\d+)\.", lambda m: f"blocks.{int(m[1]) // 3}.{m[1]}.", key): value
               for key, value in state.items()}  # fmt: skip
    teacher = {f"backbone.{key}": value for key, value in chunked.items()} | {"dino_head.mlp.0.weight": torch.ones(2)}
    converted = convert_source(saved(tmp_path / "teacher_checkpoint.pth", {"teacher": teacher}))
    assert set(converted.dropped) == {"backbone.mask_token", "dino_head.mlp.0.weight"}
    assert converted.method == "dino" and "backbone.blocks.1.4.norm1.weight" in converted.renamed.values()
    same(converted, model)


def test_a_model_of_one_image_size_is_refused_as_such(tmp_path):
    path = saved(tmp_path / "hiera.pth", timm.create_model("hiera_tiny_224", num_classes=0).state_dict())
    refused(lambda: convert_source(path, "timm", model="hiera_tiny_224.mae"), "takes images of 224 x 224 pixels only")


def test_metas_dinov3(tmp_path):
    kwargs = {key: VIT[key] for key in ("embed_dim", "depth", "num_heads")}
    model = random_model("vit_small_patch16_dinov3_qkvb", num_classes=0, **kwargs)
    state = renamed(model.state_dict(), (r"gamma_(\d)", r"ls\1.gamma"), ("reg_token", "storage_tokens"))
    for i in range(2):
        q, v = (state.pop(f"blocks.{i}.attn.{part}_bias") for part in "qv")
        state[f"blocks.{i}.attn.qkv.bias"] = torch.cat([q, torch.zeros(48), v])
        state[f"blocks.{i}.attn.qkv.bias_mask"] = torch.cat([torch.ones(48), torch.zeros(48), torch.ones(48)])
        state.pop(f"blocks.{i}.attn.k_bias", None)
    state |= {"rope_embed.periods": torch.rand(4), "mask_token": torch.randn(1, 48)}
    path = saved(tmp_path / "dinov3.pth", state)
    converted = convert_source(path, "timm", model="vit_small_patch16_dinov3_qkvb", kwargs=kwargs, **CONSTANTS)
    same(converted, model, (64, 96))
    lost = "vit_small_patch16_dinov3"  # has no place for these biases
    refused(lambda: convert_source(path, "timm", model=lost, kwargs=kwargs, **CONSTANTS), "qkv.bias", lost)


def test_official_convnext_v2_and_swin(tmp_path):
    kwargs = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}
    model = random_model("convnextv2_atto", num_classes=3, **kwargs)
    state = renamed(
        model.state_dict(), (r"^stem\.", "downsample_layers.0."),
        (r"stages\.(\d+)\.downsample", r"downsample_layers.\1"), (r"stages\.(\d+)\.blocks", r"stages.\1"),
        ("conv_dw", "dwconv"), (r"mlp\.fc", "pwconv"),
        (r"mlp\.grn\.weight", "grn.gamma"), (r"mlp\.grn\.bias", "grn.beta"), (r"head\.norm", "norm"),
        (r"head\.fc", "head"),
    )  # fmt: skip
    state = {key: value.reshape(1, 1, 1, -1) if "grn" in key else value for key, value in state.items()}
    options = {"model": "convnextv2_atto.fcmae", "kwargs": kwargs}
    converted = convert_source(saved(tmp_path / "c.pt", {"model": state}), "timm", **options)
    assert set(converted.dropped) == {"head.weight", "head.bias"}
    assert set(converted.dropped.values()) == {"dropped: classifier"}
    model.reset_classifier(0)
    same(converted, model, (64, 96))

    kwargs = {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 3, 4)}
    model = random_model("swin_tiny_patch4_window7_224", num_classes=3, **kwargs)
    state = {}
    for key, value in model.state_dict().items():
        key = re.sub(r"layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key)
        state[key.replace("head.fc", "head")] = value
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.arange(9)
    options = {"model": "swin_tiny_patch4_window7_224.ms_in1k", "kwargs": kwargs}
    converted = convert_source(saved(tmp_path / "s.pth", {"model": state}), "timm", **options)
    assert {"head.weight", "layers.0.blocks.0.attn.relative_position_index"} <= set(converted.dropped)
    model.reset_classifier(0)
    same(converted, model, (224, 224))
    # another window would have to be resampled
    options["kwargs"] = {**kwargs, "window_size": 4}
    refused(lambda: convert_source(tmp_path / "s.pth", "timm", **options), "resampled")


@pytest.mark.parametrize(
    "name", ["caformer_s18", "repvit_m1", "efficientvit_b0", "mobilenetv4_conv_small", "tiny_vit_5m_224"]
)
def test_a_classifier_of_any_name_is_dropped(tmp_path, name):
    model = random_model(name, num_classes=5)
    path = saved(tmp_path / "w.pth", model.state_dict())
    converted = convert_source(path, "timm", model=name, **CONSTANTS)
    assert converted.dropped and set(converted.dropped.values()) == {"dropped: classifier"}
    assert converted.image == {**CONSTANTS, "size": timm.get_pretrained_cfg(name).input_size[-1]}
    model.reset_classifier(0)
    same(converted, model, (64, 96) if "224" not in name else (224, 224))


def test_constants_are_asked_for(tmp_path):
    path = saved(tmp_path / "w.pth", random_model("resnet18").state_dict())
    refused(lambda: convert_source(path, "timm", model="resnet18"), "no tag", "mean=")
    refused(lambda: convert_source(path, "timm", model="resnet18", mean=0.5, std=0.5), "three numbers")


def test_prefixes_and_running_means(tmp_path):
    model, mean = random_model("resnet18", num_classes=0), random_model("resnet18", seed=1, num_classes=0)
    wrapped = {f"module._orig_mod.{key}": value for key, value in model.state_dict().items()}
    content = {"state_dict": wrapped, "state_dict_ema": mean.state_dict()}
    options = {"model": "resnet18", **CONSTANTS}
    converted = convert_source(saved(tmp_path / "w.pth", content), "timm", **options)
    same(converted, mean, (64, 96))
    assert "state_dict_ema" in converted.dropped["state_dict.*"]
    for prefix in ("module._orig_mod.", "model.net.", "network.encoder."):
        wrapped = {f"{prefix}{key}": value for key, value in model.state_dict().items()}
        converted = convert_source(saved(tmp_path / "w.pth", wrapped), "timm", **options)
        same(converted, model, (64, 96))
        assert converted.renamed["conv1.weight"] == f"{prefix}conv1.weight"
    model = timm.create_model("qwen3_vit_88m", num_classes=0, depth=4, embed_dim=64, num_heads=4)  # all keys: encoder.*
    state = {"net." + key: value for key, value in model.state_dict().items()}
    given = {"model": "qwen3_vit_88m", "kwargs": {"depth": 4, "embed_dim": 64, "num_heads": 4}, **CONSTANTS}
    converted = convert_source(saved(tmp_path / "w.pth", state), "timm", **given)
    assert {*converted.state} == {*model.state_dict()} and all(key.startswith("encoder.") for key in converted.state)
    some = {**wrapped, "projector.weight": torch.zeros(2, 2)}
    refused(
        lambda: convert_source(saved(tmp_path / "w.pth", some), "timm", **options),
        "the encoder's keys stand below network.encoder. here",
        "prefix=network.encoder.",
    )


def hub_folder(folder, parts=1):
    """timm's own layout, in one file or in parts."""
    model = random_model("test_vit", num_classes=4)
    folder.mkdir(parents=True)
    facts = {"mean": [0.2] * 3, "std": [0.3] * 3, "input_size": [3, 160, 160], "num_classes": 4, "classifier": "head"}
    config = {"architecture": "test_vit", "num_classes": 4, "global_pool": "token", "pretrained_cfg": facts}
    (folder / "config.json").write_text(json.dumps(config))
    state = dict(model.state_dict())
    if parts == 1:
        save_file(state, folder / "model.safetensors")
        return model
    where = {key: f"model-{i % parts}.safetensors" for i, key in enumerate(state)}
    for part in set(where.values()):
        save_file({key: state[key] for key, file in where.items() if file == part}, folder / part)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return model


@pytest.mark.parametrize("parts", [1, 3])
def test_hub_folders(tmp_path, parts):
    model = hub_folder(tmp_path / "hub", parts)
    converted = convert_source(tmp_path / "hub")
    assert converted.image == {"mean": [0.2] * 3, "std": [0.3] * 3, "size": 160}
    assert set(converted.dropped) == {"head.weight", "head.bias"}
    model.reset_classifier(0)
    same(converted, model, (160, 160))
    if parts > 1:
        shutil.copy(tmp_path / "hub" / "model-0.safetensors", tmp_path / "hub" / "model-1.safetensors")
        refused(lambda: convert_source(tmp_path / "hub"), "model-1.safetensors")


def test_sources_by_name_come_from_the_caches(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    revision = "0" * 40
    for repository in ("timm/test_vit.r160_in1k", "people/their-vit"):
        place = tmp_path / f"models--{repository.replace('/', '--')}"
        hub_folder(place / "snapshots" / revision)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text(revision)
    found = locate("timm:test_vit.r160_in1k")
    assert (found.path.name, found.format, found.options) == (
        "model.safetensors",
        "timm",
        {"model": "test_vit.r160_in1k"},
    )
    assert (locate("hf:people/their-vit").path / "config.json").is_file()
    refused(lambda: locate("timm:test_vit.nobody"), "r160_in1k")
    refused(lambda: locate("timm:resnet18.a1_in1k"), "cannot be downloaded")
    refused(lambda: locate("hf:people/nothing"), "cannot be downloaded")
    assert locate("some/file.pth").path.name == "file.pth"


@pytest.mark.parametrize(("build", "name", "size"), [
    ("convnext_tiny", "convnext_tiny", (64, 96)), ("swin_t", "swin_tiny_patch4_window7_224", (224, 224)),
    ("resnet18", "resnet18", (64, 96)),
])  # fmt: skip
def test_torchvision(tmp_path, build, name, size):
    """The last map against torchvision's own model, of random weights."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, build)(num_classes=3).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.02 * torch.randn_like(value))
    state = {key: value for key, value in model.state_dict().items() if "num_batches" not in key}  # as old files
    converted = convert_source(saved(tmp_path / "w.pth", state), "timm", model=name, **CONSTANTS)
    assert set(converted.new) == set(model.state_dict()) - set(state)
    assert {reason for key, reason in converted.dropped.items() if "index" not in key} == {"dropped: classifier"}
    encoder = build_encoder(**converted.encoder).eval()
    load_exactly(encoder, converted.state)
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        if build == "resnet18":
            chain = nn.Sequential(*list(model.children())[:-2])
            wanted, found = chain(x), encoder.forward_features(x)
        elif build == "convnext_tiny":
            wanted, found = model.features(x), encoder.forward_features(x)
        else:
            wanted, found = model.norm(model.features(x)), encoder.forward_features(x)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
