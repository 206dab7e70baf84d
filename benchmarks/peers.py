"""The suite beside libraries that do the same: equal losses first, then pairs of steps, and peak memory.

    pip install --no-deps -r requirements-peers.txt     what is compared and nothing else needs

COMMAND   python -m benchmarks.peers [--encoder vit_small_patch16_224 --size 224] [--batch 4] [--rounds 7] [--only mae]
COST      about five minutes on one core
EXPECTED  the table in docs/speed.md; every number of it also in benchmarks/peers.json

Rows: MAE and DINO of lightly, CLIP of open_clip, reading shards by webdataset, AP by pycocotools (the suite's is
faster-coco-eval's). A ratio is the peer's time by the suite's, the median over pairs with its range; seconds are those
of the processor on one thread. Memory is the peak of a fresh process that makes three steps, by its libraries' own
first. MoCo v3 is not there: lightly has its heads and not its loss. mmseg's and mmdet's encoders stand beside the
suite's in `python -m benchmarks.paper_steps`.
"""

import argparse
import importlib.metadata
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import carry_out
from benchmarks.pairs import Pairs, interleaved
from engine.errors import UserError
from engine.files import write_json
from engine.provenance import hardware

LIBRARIES = {"mae": "lightly", "dino": "lightly", "clip": "open-clip-torch", "shards": "webdataset",
             "ap": "pycocotools"}  # fmt: skip
KEPT = Path("benchmarks/peers.json")
TOLERANCE = 1e-4  # relative, of a loss in float32


def prepared(name: str, args: argparse.Namespace) -> tuple[Callable[[], float], Callable[[], float]]:
    """(ours, theirs): each does the work once and returns a number in which both must agree."""
    if name in ("shards", "ap"):
        from benchmarks import peer_tools

        return peer_tools.shards(args.shards) if name == "shards" else peer_tools.precision()
    from benchmarks import peer_twins

    encoder = dict(name=args.encoder, kwargs={"img_size": args.size})
    torch.manual_seed(0)
    more = {"dino": (args.codes,), "clip": (20,)}.get(name, ())
    twins = getattr(peer_twins, name)(encoder, args.size, args.batch, *more)

    def seeded(step: Callable[[], torch.Tensor]) -> Callable[[], float]:
        def run() -> float:
            torch.manual_seed(1)
            return float(step())

        return run

    return seeded(twins.ours), seeded(twins.theirs)


def compared(name: str, args: argparse.Namespace) -> tuple[list[float], Pairs]:
    """Both numbers, which agree, and the times of `args.rounds` pairs.

    Raises:
        UserError: they do not agree, so that their times mean nothing.
    """
    ours, theirs = prepared(name, args)
    numbers = [ours(), theirs()]
    if abs(numbers[0] - numbers[1]) > TOLERANCE * abs(numbers[1]):
        raise UserError(f"{name}: the suite gives {numbers[0]}, {LIBRARIES[name]} {numbers[1]}: not the same work")
    return numbers, interleaved({"ours": ours, "theirs": theirs}, args.rounds)


def peak(name: str, side: str) -> float:
    """MiB of a fresh process that works three times on one side alone."""
    command = [sys.executable, "-m", "benchmarks.peers", *sys.argv[1:], "--child", name, side]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="vit_tiny_patch16_224", help="of timm (default %(default)s)")
    parser.add_argument("--size", type=int, default=96, help="side of images (default %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="images of a step (default %(default)s)")
    parser.add_argument("--codes", type=int, default=8192, help="DINO's prototypes (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="pairs (default %(default)s)")
    parser.add_argument("--shards", type=Path, default=Path("data/scenes/shards"), help="folder of shards to read")
    parser.add_argument("--only", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--json", type=Path, default=KEPT, help="where the numbers go (default %(default)s)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if args.child:
        name, side = args.child
        work = prepared(name, args)[("ours", "theirs").index(side)]
        for _ in range(3):
            work()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    settings = dict(encoder=args.encoder, size=args.size, batch=args.batch, codes=args.codes, rounds=args.rounds)
    rows = {}
    print("| what | beside | both give | ours, s | theirs, s | theirs / ours | memory, theirs / ours |\n"
          "|---|---|---:|---:|---:|---:|---:|", flush=True)  # fmt: skip
    for name in args.only:
        library = f"{LIBRARIES[name]} {version(LIBRARIES[name])}"
        numbers, pairs = compared(name, args)
        memory = [peak(name, side) for side in ("ours", "theirs")]
        rows[name] = dict(beside=library, settings=settings, numbers=numbers, seconds=pairs.seconds, peak_mib=memory)
        print(f"| {name} | {library} | {numbers[1]:.6g} | {pairs.median('ours'):.3f} | {pairs.median('theirs'):.3f} | "
              f"{pairs.shown('theirs', 'ours')} | {memory[1] / memory[0]:.2f} |", flush=True)  # fmt: skip
    known = json.loads(args.json.read_text())["rows"] if args.json.exists() else {}
    document = dict(machine=hardware(), torch=torch.__version__, rows={**known, **rows})
    write_json(args.json, document)


def version(library: str) -> str:
    """Of an installed library; UserError that says how to install it."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"{library} is not installed: pip install --no-deps -r requirements-peers.txt") from None


if __name__ == "__main__":
    carry_out(main)
