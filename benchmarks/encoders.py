"""The encoders that pretraining may use: size, cost, adapter, and the methods that take each.

COMMAND   python -m benchmarks.encoders
COST      about a minute on one core
EXPECTED  the table in docs/encoders.md

Parameters and FLOPs are of the encoder alone, without a classifier, counted without allocating weights. Whether a
method takes an encoder is found out by building its config of scale tiny on a small one of the same architecture.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from backbones import build_encoder, describe_encoder, flops_per_image, parameter_count
from backbones.pyramid import kind_of
from benchmarks import carry_out
from benchmarks.methods import build
from engine.errors import UserError
from study.configure import load_config

VIT = dict(img_size=64, patch_size=8, embed_dim=24, depth=4, num_heads=3)
MCI = dict(embed_dims=(16, 32, 64, 128), layers=(1, 1, 2, 1))
SHARED = dict(use_rel_pos_bias=False, use_shared_rel_pos_bias=True, use_fc_norm=False)
NANO = dict(embed_dim=48, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24))
SWIN, TINY = "swin_tiny_patch4_window7_224", dict(img_size=64, patch_size=8, embed_dim=96, depth=4, num_heads=3)
# Name, timm's name, arguments, and the arguments of a small one of that architecture at 64 pixels.
ENCODERS = [
    ("scale tiny", "vit_tiny_patch16_224", TINY, VIT),
    ("ViT-Ti/16", "vit_tiny_patch16_224", {}, VIT),
    ("ViT-S/16", "vit_small_patch16_224", {}, VIT),
    ("ViT-B/16", "vit_base_patch16_224", {}, VIT),
    ("ViT-L/16", "vit_large_patch16_224", {}, VIT),
    ("OpenAI's ViT-B/16", "vit_base_patch16_clip_quickgelu_224", {}, VIT),
    ("BEiT-B/16", "beit_base_patch16_224", SHARED, {**VIT, **SHARED}),
    ("ResNet-18", "resnet18", {}, {}),
    ("MobileNetV2", "mobilenetv2_100", {}, {}),
    ("Swin-T", SWIN, {}, {"img_size": 64, **NANO}),
    ("Swin-Nano", SWIN, NANO, {"img_size": 64, **NANO}),
    ("MCi0", "fastvit_mci0", {}, MCI),
    ("MCi1", "fastvit_mci1", {}, MCI),
    ("MCi2", "fastvit_mci2", {}, MCI),
]  # fmt: skip


def facts(label: str, name: str, kwargs: dict[str, Any]) -> list[str]:
    """The cells of a row but the last."""
    with torch.device("meta"):
        encoder = build_encoder(name, kwargs).requires_grad_(False)
    described = describe_encoder(encoder)
    call = f"`{name}`" + "".join(f", `{key}={value}`" for key, value in kwargs.items())
    width = str(described.channels[0]) if described.plain else ", ".join(map(str, described.channels[-4:]))
    millions, billions = parameter_count(encoder) / 1e6, flops_per_image(encoder, 224, 224) / 1e9
    return [label, call, width, f"{millions:.1f}", f"{billions:.2f}", kind_of(described)]


def takers(name: str, kwargs: dict[str, Any]) -> str:
    """The methods that take an encoder, or those that do not where they are fewer."""
    configs = sorted(Path("pretrain/configs").glob("*.py"), key=lambda path: len(path.stem))
    methods = {load_config(str(path)).model.type: path.stem for path in reversed(configs)}
    takes, refuses = [], []
    for method, config in sorted(methods.items()):
        with tempfile.TemporaryDirectory() as folder:
            try:
                build(config, "tiny", 2, 4, Path(folder), dict(name=name, kwargs=kwargs))
                takes.append(method)
            except UserError:
                refuses.append(method)
    if not refuses:
        return "all"
    return f"all but {', '.join(refuses)}" if len(refuses) < len(takes) else ", ".join(takes)


def main() -> None:
    """Print the table as Markdown."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| encoder | timm's name and arguments | width | parameters, M | GFLOPs at 224 | adapter | methods |")
    print("|---|---|---|---:|---:|---|---|")
    for label, name, kwargs, small in ENCODERS:
        print(f"| {' | '.join([*facts(label, name, kwargs), takers(name, small)])} |", flush=True)


if __name__ == "__main__":
    carry_out(main)
