"""Kinds of weights: the suite's own checkpoint folders, and files and folders of others."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_safetensors

from backbones import build_encoder, save_checkpoint
from backbones.text import TextTower, compact_vocabulary
from backbones.towers import Features, Towers
from benchmarks.fuzzing.data import HEIGHT, WORDS, pixels
from benchmarks.fuzzing.kinds import Files, Kind, command
from benchmarks.fuzzing.runs import digest, saved
from engine.files import sealed

ENCODER = {"name": "vit_tiny_patch16_224",
           "kwargs": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}}  # fmt: skip


def meta(**others: Any) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {
        "method": "clip", "captions": "noisy", "seed": 0, "scale": "tiny", "encoder": ENCODER,
        "image": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "size": 32}, "data": {"name": "a", "samples": 8},
        "samples_seen": 8, "updates": 1, "config_hash": "abc", "code_version": "0", "parent": None, "ledger": None,
        "cost": {"wall_s": 1.0, "samples_per_s": 8.0, "peak_memory_mib": None, "hardware": {"device": "cpu"}}, **others,
    }  # fmt: skip


def checkpoints() -> Kind:
    """The suite's own checkpoint folders, with and without a text tower."""
    torch.manual_seed(0)
    text = TextTower(16, compact_vocabulary(WORDS), context=12, width=24, layers=1, heads=3)
    state = {f"text.{key}": value for key, value in text.state_dict().items()}
    state |= {"image_projection.weight": torch.randn(16, 24), "logit_scale": torch.tensor(2.6)}
    found = []
    with tempfile.TemporaryDirectory() as place:
        for name, about, weights in (
            ("a", meta(text=text.meta()), state),
            ("b", meta(method="mae", captions=None, text=None), None),
        ):
            save_checkpoint(Path(place, name), build_encoder(**ENCODER), about, weights)
            found.append({path.name: path.read_bytes() for path in Path(place, name).iterdir()})
    return Kind(found, read_checkpoints, seal_checkpoint, share=2)


def seal_checkpoint(files: Files) -> None:
    """Renew the checksums in checkpoint.json."""
    try:
        document = json.loads(files["checkpoint.json"])
        document["sha256"] |= {name: digest(content) for name, content in files.items() if name in document["sha256"]}
        files["checkpoint.json"] = json.dumps(sealed(document)).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        pass


def read_checkpoints(folder: Path) -> None:
    """Load the encoder and, where there are texts, both towers; put an image through."""
    image = pixels(3, HEIGHT, HEIGHT)
    features = Features(folder)
    features.pool([image])
    if features.meta["text"] is not None:
        towers = Towers(folder)
        towers.embed_images([image]), towers.embed_texts(WORDS)
    command("convert", folder, folder.with_name("out.safetensors"), "--to", "timm")


def random_state(name: str, **kwargs: Any) -> dict[str, torch.Tensor]:
    """timm's keys with random tensors, half precision."""
    state = build_encoder(name, kwargs).state_dict()
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


def hf_state(width: int = 48) -> dict[str, torch.Tensor]:
    """A DINOv2 of one block in Hugging Face's names."""
    shapes = {"embeddings.cls_token": (1, 1, width), "embeddings.position_embeddings": (1, 17, width),
              "embeddings.mask_token": (1, width), "embeddings.patch_embeddings.projection.weight": (width, 3, 8, 8),
              "embeddings.patch_embeddings.projection.bias": (width,)}  # fmt: skip
    layers = {"attention.attention.query": (width, width), "attention.attention.key": (width, width),
              "attention.attention.value": (width, width), "attention.output.dense": (width, width),
              "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}  # fmt: skip
    for name, shape in layers.items():
        shapes |= {f"encoder.layer.0.{name}.weight": shape, f"encoder.layer.0.{name}.bias": shape[:1]}
    for name in ("encoder.layer.0.norm1", "encoder.layer.0.norm2", "layernorm"):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    shapes |= {f"encoder.layer.0.layer_scale{k}.lambda1": (width,) for k in (1, 2)}
    return {key: torch.randn(shape) for key, shape in shapes.items()}


def clip_state(kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights and configuration of a small CLIP of open_clip's."""
    from open_clip.model import CLIP

    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 8, "patch_size": 8}
    text = {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
    model = CLIP(16, vision, text, quick_gelu=True)
    config = {"model_cfg": {"embed_dim": 16, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text},
              "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}  # fmt: skip
    return {key: value.half() for key, value in model.state_dict().items()}, config


def foreign() -> Kind:
    """Weights of others: MAE's and DINO's files, folders of timm, Hugging Face and open_clip, one cut into parts."""
    torch.manual_seed(0)
    vit = random_state("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=1)
    fixed = {**vit, "pos_embed": vit["pos_embed"].clone()}
    fixed["pos_embed"][:, 0] = 0
    student = {f"module.backbone.{key}": value for key, value in vit.items()}
    dino = {"student": student, "teacher": {f"backbone.{key}": value for key, value in vit.items()}, "epoch": 1}
    timm_config = {"architecture": "test_resnet", "num_classes": 0, "pretrained_cfg": {
        "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2], "input_size": [3, 32, 32], "pool_size": [1, 1]}}  # fmt: skip
    hf = {"model_type": "dinov2", "hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 3, "patch_size": 8,
          "image_size": 32, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "mlp_ratio": 4}  # fmt: skip
    first, second = dict(list(hf_state().items())[:9]), dict(list(hf_state().items())[9:])
    index = {"weight_map": {**dict.fromkeys(first, "a.safetensors"), **dict.fromkeys(second, "b.safetensors")}}
    clip, clip_config = clip_state("open_clip")
    dump = lambda value: json.dumps(value).encode()  # noqa: E731
    found = [
        {"mae.pth": saved({"model": fixed})}, {"dino.pth": saved(dino)}, {"mae.safetensors": save_safetensors(fixed)},
        {"config.json": dump(timm_config), "model.safetensors": save_safetensors(random_state("test_resnet"))},
        {"config.json": dump(hf), "model.safetensors": save_safetensors(hf_state()),
         "preprocessor_config.json": dump({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})},
        {"config.json": dump(hf), "model.safetensors.index.json": dump(index), "a.safetensors": save_safetensors(first),
         "b.safetensors": save_safetensors(second)},
        {"open_clip_config.json": dump(clip_config), "open_clip_model.safetensors": save_safetensors(clip)},
    ]  # fmt: skip
    return Kind(found, read_foreign, share=2)


def read_foreign(folder: Path) -> None:
    """Convert them, and load what came of it."""
    files = list(folder.iterdir())
    command("convert", files[0] if len(files) == 1 else folder, folder.with_name("converted"))
    Features(folder.with_name("converted")).pool([np.zeros((32, 32, 3), np.uint8)])


def kinds() -> Iterator[tuple[str, Kind]]:
    """Name -> kind of all of them."""
    for make in (checkpoints, foreign):
        yield make.__name__, make()
