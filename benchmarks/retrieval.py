"""Retrieval at a size that no matrix of similarities fits: time and memory beside a plain blocked product.

COMMAND   python -m benchmarks.retrieval
COST      twenty minutes of one core (100,000 images and texts, 512 dimensions, both directions)
EXPECTED  peak memory below 2 GiB, of which the embeddings take 0.4; less than twice the plain time

Both work on the same random unit vectors, each in a process of its own. The plain one multiplies blocks of the same
size and asks torch for the ten nearest, which says less: no rank beyond the tenth, and ties in no stated order. Ratios
are of processor time, which other work on the machine hardly changes.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor

from benchmarks import carry_out
from recognition.retrieval import BYTES, MEMORY, both_directions

NEAREST = 10


def embeddings(items: int, width: int) -> tuple[Tensor, Tensor]:
    """Unit vectors [N, E] of images, and of texts that lean towards their images."""
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(items, width, generator=generator) for _ in range(2))
    texts.add_(images, alpha=0.15)
    return images.div_(images.norm(dim=1, keepdim=True)), texts.div_(texts.norm(dim=1, keepdim=True))


def ours(images: Tensor, texts: Tensor) -> float:
    """R@10 from image to text by the suite."""
    to_text, _ = both_directions(images, texts, range(len(images)))
    return float((to_text < NEAREST).float().mean())


def plain(images: Tensor, texts: Tensor) -> float:
    """R@10 from image to text by torch's product and topk, in blocks; the other direction is computed too."""
    step = max(1, MEMORY // (BYTES * len(texts)))
    shares = []
    for queries, gallery in ((images, texts), (texts, images)):
        nearest = [(block @ gallery.T).topk(NEAREST, dim=1).indices for block in queries.split(step)]
        hit = torch.cat(nearest) == torch.arange(len(queries))[:, None]
        shares.append(float(hit.any(dim=1).float().mean()))
    return shares[0]


WAYS = {"suite": ours, "plain": plain}


def main() -> None:
    """Run each way in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000, help="images, and as many texts (default %(default)s)")
    parser.add_argument("--width", type=int, default=512, help="dimensions of an embedding (default %(default)s)")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # what the parent asks its child to run
    args = parser.parse_args()
    if args.way:
        images, texts = embeddings(args.items, args.width)
        start, busy = time.perf_counter(), time.process_time()
        share = WAYS[args.way](images, texts)
        wall, busy = time.perf_counter() - start, time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts KiB
        print(f"{wall:.1f} {busy:.1f} {peak:.2f} {100 * share:.2f}")
        return
    print(f"{args.items:,} images x {args.items:,} texts, {args.width} dimensions, {torch.get_num_threads()} threads\n")
    print("| way | seconds | processor seconds | their ratio | peak memory, GiB | R@10, % |\n|---|" + "---:|" * 5)
    size = ["--items", str(args.items), "--width", str(args.width)]
    first = None
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.retrieval", *size, "--way", way]
        print(f"{way} ...", file=sys.stderr, flush=True)
        seconds, busy, peak, share = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        first = first or float(busy)
        print(f"| {way} | {seconds} | {busy} | {float(busy) / first:.2f} | {peak} | {share} |", flush=True)


if __name__ == "__main__":
    carry_out(main)
