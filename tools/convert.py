r"""Checkpoints in and out: a published file becomes a checkpoint folder, a checkpoint folder a file for others.

    python tools/convert.py mae_pretrain_vit_base.pth runs/published/mae_b16
    python tools/convert.py dino_vitbase16_pretrain.pth runs/published/dino_b16 --format dino
    python tools/convert.py model.safetensors runs/published/augreg --format timm \
        --options model=vit_base_patch16_224.augreg_in21k
    python tools/convert.py timm:convnext_tiny.dinov3_lvd1689m runs/published/dinov3 --name "DINOv3 ConvNeXt-T"
    python tools/convert.py hf:facebook/dinov2-small runs/published/dinov2
    python tools/convert.py runs/tiny/pretrain/mae/seed0/checkpoint mae.safetensors --to timm
    python tools/convert.py runs/tiny/upernet/mae/seed0 out --to mmseg

docs/convert.md lists the formats. What became of each key is printed and kept in the checkpoint.
"""

import argparse
import importlib
from collections.abc import Sequence

import start  # isort: split

from engine.errors import UserError

# target -> module and function that write it
TARGETS = {
    "timm": ("backbones.convert.export", "to_timm"),
    "open_clip": ("backbones.convert.to_open_clip", "to_open_clip"),
    "mmseg": ("study.to_openmmlab", "to_mmseg"),
    "mmdet": ("study.to_openmmlab", "to_mmdet"),
    "onnx": ("study.to_onnx", "to_onnx"),
    "safetensors": ("backbones.convert.export", "to_safetensors"),
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    parser.add_argument("source", help="a published file or folder, timm:NAME.TAG or hf:ORG/REPO; with --to, a "
                        "checkpoint folder, or a finished run's (mmseg, mmdet, onnx)")  # fmt: skip
    parser.add_argument(
        "out", help="the checkpoint folder to write; with --to, the file, or the folder (open_clip, mmseg, mmdet)"
    )
    parser.add_argument("--format", default="auto", help="layout of the file (default auto: recognised by its keys)")
    parser.add_argument("--options", nargs="+", action=start.KeyValues, default={}, metavar="KEY=VALUE",
                        help="what the file does not tell: heads=12 quick_gelu=true model=NAME; where it holds more"
                        " than the encoder: prefix=module.encoder_q. drop=fc.*,queue*")  # fmt: skip
    parser.add_argument("--name", help="what tables call it (default: timm:NAME.TAG, hf:ORG/REPO, or the file's stem)")
    parser.add_argument("--pretrained-on", metavar="DATA", help="what tables say of its images (default: what a tag of"
                        " timm's says, else published)")  # fmt: skip
    parser.add_argument("--to", choices=sorted(TARGETS), help="write a checkpoint or a finished run for others instead")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, convert, print."""
    args = parse_arguments(arguments)
    start.mend()  # the heavy imports, after the arguments are known to be good
    if args.to:
        if args.format != "auto" or args.options or args.name or args.pretrained_on:
            raise UserError("--format, --options, --name and --pretrained-on tell of a published file, not of --to")
        module, function = TARGETS[args.to]
        print(getattr(importlib.import_module(module), function)(args.source, args.out))
    else:
        from backbones.convert.bring import bring_in

        print(bring_in(args.source, args.out, args.format, args.options, args.name, args.pretrained_on))


if __name__ == "__main__":
    start.run(main)
