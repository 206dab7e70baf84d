"""Command line: python -m scenes --out data/scenes"""

import argparse
import sys
from pathlib import Path

from engine.errors import UserError
from scenes.export import DEFAULT_COUNTS, ensure


def _counts(text: str) -> dict[str, int]:
    try:
        pairs = dict(item.split("=") for item in text.split(",") if item)
        return {split.strip(): int(count) for split, count in pairs.items()}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like pretrain=8192,train=128") from error


def main(arguments: list[str] | None = None) -> int:
    """Parse `arguments` (the process's own by default), export, print a summary; return the exit status."""
    default = ",".join(f"{split}={count}" for split, count in DEFAULT_COUNTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m scenes",
        description="Render the embedded data set: rooms with solids, with exact masks, classes, depth and captions. "
        "An interrupted export goes on where it stopped; a complete one is left alone.",
    )
    parser.add_argument("--out", type=Path, default=Path("data/scenes"), help="folder to fill (default: %(default)s)")
    parser.add_argument(
        "--counts", type=_counts, default={}, metavar="SPLIT=N,...", help=f"scenes per split (default: {default})"
    )
    parser.add_argument("--size", type=int, default=64, help="edge of the images in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="world seed; same seed, same bytes (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=None, help="worker processes (default: one per core)")
    options = parser.parse_args(arguments)
    if options.processes is not None and options.processes < 1:
        parser.error("--processes must be 1 or more")
    try:
        manifest = ensure(options.out, options.size, options.counts, options.seed, options.processes)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    counts = ", ".join(f"{split} {count}" for split, count in manifest["counts"].items())
    print(f"{options.out}: {counts} at {manifest['size']} px, seed {manifest['seed']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
