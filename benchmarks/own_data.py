"""Seconds from COCO files and two checkpoints to a table: the two commands, and what of them is not training.

COMMAND   python -m benchmarks.own_data [--images 96] [--iterations 40] [--jobs 1]
COST      about three minutes on one core
EXPECTED  the table in docs/data.md, "Two commands", which is of --seeds 1 --iterations 4 --images 16

Annotations and pictures are the embedded scenes'; the checkpoints are timm's files, with weights of their first
draw, since a second does not depend on what was learnt. Runs follow one another with --jobs 1, so that seconds add up.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import timm
import torch

import compat  # noqa: F401
from benchmarks import carry_out
from engine.provenance import REPOSITORY
from scenes.export import ensure

TASK = "mask_rcnn"


def write_checkpoints(folder: Path) -> list[str]:
    """Two files as timm leaves them, of a ViT-Ti and a ResNet-18; what --encoders takes for them."""
    torch.manual_seed(0)
    files = {"vit_tiny.pth": "vit_tiny_patch16_224", "resnet18.pth": "resnet18"}
    for file, name in files.items():
        torch.save(timm.create_model(name).state_dict(), folder / file)
    return ["deit:vit_tiny.pth", "timm:resnet18.a1_in1k@resnet18.pth"]


def seconds(command: str, folder: Path) -> float:
    """Wall seconds of one of the suite's commands, started in `folder`; its output goes to the screen if it fails."""
    began = time.perf_counter()
    tool, *words = command.split()
    done = subprocess.run([sys.executable, REPOSITORY / tool, *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96, help="of training (default %(default)s)")
    parser.add_argument("--iterations", type=int, default=40, help="of each fine-tuning (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of each encoder (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once (default %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ensure(folder / "mine", counts={"pretrain": 0, "train": args.images, "val": 32, "test": 64})
        checkpoints = write_checkpoints(folder)
        prepared = seconds(
            "tools/prepare.py coco-format mine --annotations coco/instances_{split}.json --images images/{split} "
            "--out data/mine",
            folder,
        )
        compared = seconds(
            f"tools/compare.py --data data/mine/overlay.py --encoders {' '.join(checkpoints)} --tasks {TASK} "
            f"--seeds {args.seeds} --jobs {args.jobs} --cfg-options train_cfg.max_iters={args.iterations}",
            folder,
        )
        records = [json.loads(path.read_text()) for path in (folder / "runs").rglob("result.json")]
    walls = [found["cost"]["finetune_wall_s"] for found in records if found["cost"]["finetune_wall_s"] is not None]
    print(f"{args.images} images, {TASK}, {len(walls)} runs of {args.iterations} iterations, {args.jobs} at once\n")
    print("| what | wall seconds |\n|---|---:|")
    for what, value in {
        "tools/prepare.py": prepared,
        "tools/compare.py, to the table and the page": compared,
        "of it the iterations of training": sum(walls) / args.jobs,
        "around them": compared - sum(walls) / args.jobs,
        "around them, a run": (compared - sum(walls) / args.jobs) / len(walls),
    }.items():
        print(f"| {what} | {value:.1f} |")


if __name__ == "__main__":
    carry_out(main)
