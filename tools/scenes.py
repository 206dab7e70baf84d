"""Render the embedded data set: rooms with solids, with exact masks, classes, depth and captions.

    python -m scenes --out data/scenes
    python -m scenes --out data/scenes-1024 --counts pretrain=1024

An interrupted export goes on where it stopped; a complete one is left alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import start


def counts_of(text: str) -> dict[str, int]:
    """Scenes per split, from SPLIT=N,..."""
    try:
        pairs = dict(item.split("=") for item in text.split(",") if item)
        return {split.strip(): int(count) for split, count in pairs.items()}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like pretrain=8192,train=128") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Export, print a summary."""
    from scenes.export import DEFAULT_COUNTS, ensure

    default = ",".join(f"{split}={count}" for split, count in DEFAULT_COUNTS.items())
    parser = start.parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/scenes"), help="folder to fill (default: %(default)s)")
    parser.add_argument(
        "--counts", type=counts_of, default={}, metavar="SPLIT=N,...", help=f"scenes per split (default: {default})"
    )
    parser.add_argument("--size", type=int, default=64, help="edge of the images in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="world seed; same seed, same bytes (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=None, help="worker processes (default: one per core)")
    options = parser.parse_args(arguments)
    if options.processes is not None and options.processes < 1:
        parser.error("--processes must be 1 or more")
    manifest = ensure(options.out, options.size, options.counts, options.seed, options.processes)
    counts = ", ".join(f"{split} {count}" for split, count in manifest["counts"].items())
    print(f"{options.out}: {counts} at {manifest['size']} px, seed {manifest['seed']}")


if __name__ == "__main__":
    start.run(main, advice="the same command goes on where it stopped")
