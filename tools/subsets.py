"""Nested subsets of image-text shards: the data of a curve over data size, where each size adds to the smaller ones.

    python tools/subsets.py data/mine/shards data/mine/subsets --sizes 10000 100000 1000000

writes data/mine/subsets/10000 and so on, each a folder of shards for the `root` of a data overlay. The scenes need
none: `python -m scenes --out data/scenes-1024 --counts pretrain=1024` makes the first 1024 of any larger number.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import compat  # noqa: E402, F401, I001
from engine.errors import UserError, tell  # noqa: E402


def main(arguments: list[str]) -> None:
    """Parse, copy, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of image-text shards")
    parser.add_argument("out", type=Path, help="folder for the subsets")
    parser.add_argument("--sizes", type=int, nargs="+", required=True, help="numbers of samples")
    parser.add_argument("--pattern", default="*.tar", help="which shards (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the order that all sizes share (default: %(default)s)")
    args = parser.parse_args(arguments)
    from datasets.subsets import write_subsets

    print(*write_subsets(args.root, args.out, args.sizes, args.pattern, args.seed), sep="\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(tell(error))
