"""What MaskCLIP's parts cost beside CLIP: arithmetic and time of the same step with a part after another added.

COMMAND   python -m benchmarks.maskclip_cost [--encoder vit_small_patch16_224] [--batch 16] [--rounds 7]
COST      about six minutes on one core
EXPECTED  the table in docs/speed.md: time / CLIP at most 1.05 times FLOPs / CLIP

All are of `--scale paper` but for the encoder. Captions have the lengths of web captions, log-normal with a median of
--words tokens and cut to the context; a batch is as wide as its longest caption, as the loader makes it, and the last
two steps work on all of its places. A step is forward, backward, the optimizer and the teacher's update. The steps
alternate; FLOPs are those of forward and backward by torch's counter, so what is not a product of matrices is time
alone.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from backbones.text import CLIP_VOCABULARY, END, START
from benchmarks import carry_out
from benchmarks.methods import Bench, build
from benchmarks.pairs import interleaved
from pretrain.data.dataset import pretrain_collate

STEPS = {  # method; its settings, less the parts that are not there yet; whether padding is left out
    "CLIP": ("clip", {}, True),
    "CLIP and masked words": ("maskclip", dict(distill_weight=0), True),
    "CLIP and masked patches": ("maskclip", dict(mlm_weight=0), True),
    "MaskCLIP": ("maskclip", {}, True),
    "CLIP, padded": ("clip", {}, False),
    "MaskCLIP, padded": ("maskclip", {}, False),
}


def web_captions(batch: int, middle: int, context: int) -> torch.Tensor:
    """CLIP ids [batch, longest]: random words between start and end, lengths log-normal around `middle` tokens."""
    rng = np.random.default_rng(0)
    words = np.clip(np.exp(rng.normal(np.log(middle - 2), 0.5, batch)).round().astype(int), 1, context - 2)
    tokens = np.zeros((batch, words.max() + 2), np.int64)
    for row, count in zip(tokens, words, strict=True):
        row[0], row[count + 1] = START, END
        row[1 : count + 1] = rng.integers(320, CLIP_VOCABULARY - 2, count)
    return torch.from_numpy(tokens)


def prepare(args: argparse.Namespace, method: str, settings: dict, packed: bool, folder: Path) -> Bench:
    """A method with some of its settings changed, on the same captions."""
    bench = build(method, args.scale, args.batch, args.words, folder, dict(name=args.encoder, kwargs={}), settings)
    captions = web_captions(args.batch, args.words, bench.model.text.kwargs["context"])
    batch = pretrain_collate([dict(tokens=row) for row in captions], packed)["inputs"]
    device = bench.inputs["image"].device
    bench.inputs = {"image": bench.inputs["image"], **{name: value.to(device) for name, value in batch.items()}}
    return bench


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="paper", help="scale of the configs (default %(default)s)")
    parser.add_argument("--encoder", default="vit_small_patch16_224", help="of timm (default %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="images of a step (default %(default)s)")
    parser.add_argument("--words", type=int, default=20, help="median tokens of a caption (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as folder:
        steps = {name: prepare(args, *step, Path(folder)) for name, step in STEPS.items()}
    length = steps["CLIP"].inputs["tokens"].shape[1]
    print(f"{args.encoder}, batches of {args.batch}, captions of {args.words} tokens in the median, {length} at most\n")
    flops = {name: bench.flops() for name, bench in steps.items()}
    pairs = interleaved({name: bench.step for name, bench in steps.items()}, args.rounds)
    print("| step | GFLOPs an image | FLOPs / CLIP | time / CLIP | time over FLOPs |\n|---|---:|---:|---:|---:|")
    for name in steps:
        work = flops[name] / flops["CLIP"]
        print(f"| {name} | {flops[name] / args.batch / 1e9:.1f} | {work:.2f} | {pairs.shown(name, 'CLIP')} | "
              f"{pairs.middle_ratio(name, 'CLIP') / work:.2f} |")  # fmt: skip


if __name__ == "__main__":
    carry_out(main)
