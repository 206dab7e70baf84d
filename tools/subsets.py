"""Nested subsets of image-text shards: the data of a curve over data size, where each size adds to the smaller ones.

    python tools/subsets.py data/mine/shards data/mine/subsets --sizes 10000 100000 1000000

writes data/mine/subsets/10000 and so on, each a folder of shards for the `root` of a data overlay. The scenes need
none: `python -m scenes --out data/scenes-1024 --counts pretrain=1024` makes the first 1024 of any larger number.
"""

from collections.abc import Sequence
from pathlib import Path

import start


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, copy, print."""
    parser = start.parser_of(__doc__)
    parser.add_argument("root", type=Path, help="folder of image-text shards")
    parser.add_argument("out", type=Path, help="folder for the subsets")
    parser.add_argument("--sizes", type=int, nargs="+", required=True, help="numbers of samples")
    parser.add_argument("--pattern", default="*.tar", help="which shards (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the order that all sizes share (default: %(default)s)")
    args = parser.parse_args(arguments)
    start.mend()  # the heavy imports, after the arguments are known to be good
    from datasets.subsets import write_subsets

    print(*write_subsets(args.root, args.out, args.sizes, args.pattern, args.seed), sep="\n")


if __name__ == "__main__":
    start.run(main)
