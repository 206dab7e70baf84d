r"""Checkpoints in and out: a published file becomes a checkpoint folder, a checkpoint folder a file for others.

    python tools/convert.py mae_pretrain_vit_base.pth runs/published/mae_b16
    python tools/convert.py dino_vitbase16_pretrain.pth runs/published/dino_b16 --format dino
    python tools/convert.py model.safetensors runs/published/augreg --format timm \
        --options model=vit_base_patch16_224.augreg_in21k
    python tools/convert.py timm:convnext_tiny.dinov3_lvd1689m runs/published/dinov3 --name "DINOv3 ConvNeXt-T"
    python tools/convert.py hf:facebook/dinov2-small runs/published/dinov2
    python tools/convert.py runs/tiny/pretrain/mae/seed0/checkpoint mae.safetensors --to timm

docs/convert.md lists the formats. What became of each key is printed and kept in the checkpoint.
"""

import argparse
import importlib
from collections.abc import Sequence
from typing import Any

import start  # isort: split

from engine.errors import UserError

# target -> module and function that write it
TARGETS = {
    "timm": ("backbones.convert.export", "to_timm"),
    "open_clip": ("backbones.convert.to_open_clip", "to_open_clip"),
    "safetensors": ("backbones.convert.export", "to_safetensors"),
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    parser.add_argument("source", help="a published file or folder, timm:NAME.TAG or hf:ORG/REPO; with --to, a "
                        "checkpoint folder")  # fmt: skip
    parser.add_argument("out", help="the checkpoint folder to write; with --to, the file, or open_clip's folder")
    parser.add_argument("--format", default="auto", help="layout of the file (default auto: recognised by its keys)")
    parser.add_argument("--options", nargs="+", action=start.KeyValues, default={}, metavar="KEY=VALUE",
                        help="what the file does not tell: heads=12 quick_gelu=true model=NAME")  # fmt: skip
    parser.add_argument("--name", help="what tables call it (default: timm:NAME.TAG, hf:ORG/REPO, or the file's stem)")
    parser.add_argument("--to", choices=sorted(TARGETS), help="write a checkpoint folder for others instead")
    return parser.parse_args(arguments)


def bring_in(source: str, out: str, format: str, options: dict[str, Any], name: str | None = None) -> str:
    """Convert a published file into a checkpoint folder and return the key ledger's summary.

    The file's own history is unknown: samples and updates are 0, and `config_hash` is the SHA-256 of its weights.
    """
    from backbones.checkpoint import save_checkpoint
    from backbones.convert import convert_source
    from backbones.convert.families import family_of
    from backbones.convert.hub import HUB, TIMM, locate
    from backbones.encoder import build_encoder
    from backbones.ledger import load_exactly
    from engine import files
    from engine.provenance import code_version

    found = locate(source)
    path = found.path
    format = found.format if format == "auto" else format
    converted = convert_source(path, format, **{**found.options, **options})
    hub = source.startswith((TIMM, HUB))
    tag = source if hub else str(options.get("model", ""))
    encoder = build_encoder(**converted.encoder)
    load_exactly(encoder, converted.state, what=source)
    ledger = converted.ledger()
    parts = path.iterdir() if path.is_dir() else [path]
    weights = max(parts, key=lambda part: part.stat().st_size)  # of a folder, the largest file
    meta = {
        "name": name or (source if hub else path.resolve().name if path.is_dir() else path.stem),
        "source": source if hub else path.name, "family": family_of(converted, tag),
        "method": converted.method, "captions": None, "seed": 0, "scale": "published", "encoder": converted.encoder,
        "image": converted.image, "data": {"name": "published", "samples": None, "file": path.name},
        "samples_seen": 0, "updates": 0, "config_hash": files.sha256(weights), "code_version": code_version(),
        "parent": None, "ledger": ledger.document(), "text": converted.text,
        "cost": {"wall_s": None, "samples_per_s": None, "peak_memory_mib": None, "hardware": None},
    }  # fmt: skip
    save_checkpoint(out, encoder, meta, converted.text_state)
    arguments = ", ".join(f"{key}={value}" for key, value in converted.encoder["kwargs"].items())
    return f"{ledger.summary()}\n{out}: {converted.method}, {converted.encoder['name']}({arguments})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, convert, print."""
    args = parse_arguments(arguments)
    start.mend()  # the heavy imports, after the arguments are known to be good
    if args.to:
        if args.format != "auto" or args.options or args.name:
            raise UserError("--format, --options and --name tell of a published file; they have no use beside --to")
        module, function = TARGETS[args.to]
        print(getattr(importlib.import_module(module), function)(args.source, args.out))
    else:
        print(bring_in(args.source, args.out, args.format, args.options, args.name))


if __name__ == "__main__":
    start.run(main)
