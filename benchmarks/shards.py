"""The index of image-text shards: what a sample costs to find, in processor time and in memory.

COMMAND   python -m benchmarks.shards --samples 1000000
COST      two minutes of one core; disk for two blocks a member, some 3 GiB a million samples
EXPECTED  below 30 us of processor a sample, below 20 bytes a sample on disk and in memory, a third of tarfile's time

The tars are as img2dataset writes them, 10,000 samples of image, text and JSON each, the images holes in the file: none
of their bytes is read. Both ways of reading headers take each tar in turn, so that other work hits both alike.
"""

import argparse
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import carry_out
from datasets.shards import ShardReader, load_index
from datasets.tar_headers import any_members, grouped, plain_members
from engine.blocks import BlockOrder

SAMPLES = 10_000  # of a shard
IMAGE = 30_000  # bytes of an image
MORE = 1_280_000_000  # samples of DataComp-1B
WINDOW = 2**19


def write_shard(path: Path, first: int, count: int) -> None:
    """A tar whose images are holes."""
    with open(path, "wb") as file:
        for key in range(first, first + count):
            for extension, size in (("jpg", IMAGE), ("txt", 80), ("json", 400)):
                info = tarfile.TarInfo(f"{key:09d}.{extension}")
                info.size = size
                file.write(info.tobuf(tarfile.USTAR_FORMAT))
                file.seek(-(-size // 512) * 512, os.SEEK_CUR)
        file.write(bytes(1024))


def spent(way: Callable[[Path], Any], path: Path) -> float:
    """Processor seconds of reading one tar's samples."""
    before = time.process_time()
    members = way(path)
    assert len(grouped(members[0] if isinstance(members, tuple) else members)) == SAMPLES
    return time.process_time() - before


def resident() -> int:
    """Bytes of this process in memory that no file backs."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def main() -> None:
    """Write the shards, read them and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000, help=f"a multiple of {SAMPLES:,} (default %(default)s)")
    parser.add_argument("--dir", type=Path, help="where the tars may lie (default: the system's temporary folder)")
    args = parser.parse_args()
    if args.samples < SAMPLES or args.samples % SAMPLES:
        parser.error(f"--samples {args.samples}: give a multiple of {SAMPLES}")
    with tempfile.TemporaryDirectory(dir=args.dir) as place:
        root = Path(place, "shards")
        root.mkdir()
        for number in tqdm(range(args.samples // SAMPLES), "write shards", unit="tar"):
            write_shard(root / f"{number:05d}.tar", number * SAMPLES, SAMPLES)
        paths = sorted(root.glob("*.tar"))
        pairs = [(spent(plain_members, path), spent(any_members, path)) for path in tqdm(paths[:10], "pairs")]
        ratios = sorted(slow / fast for fast, slow in pairs)
        before, start, clock = resident(), os.times(), time.perf_counter()
        reader = ShardReader(load_index(root))
        end = os.times()
        cost = sum(end[:4]) - sum(start[:4])
        for sample in range(0, len(reader), 5_000):
            reader.read(sample, 1)
        held = resident() - before
        stored = sum(path.stat().st_size for path in Path(place, ".shards.index").rglob("*") if path.is_file())
        print(f"samples                          {len(reader):,} in {len(paths)} tars")
        print(f"headers alone, suite / tarfile   {1e6 * np.median([p[0] for p in pairs]) / SAMPLES:.1f} / "
              f"{1e6 * np.median([p[1] for p in pairs]) / SAMPLES:.1f} us of processor a sample")  # fmt: skip
        print(f"tarfile's time / the suite's     {np.median(ratios):.1f} [{ratios[0]:.1f}, {ratios[-1]:.1f}]")
        print(f"whole index, all processes       {1e6 * cost / len(reader):.1f} us of processor a sample, "
              f"{time.perf_counter() - clock:.1f} s of wall on {os.cpu_count()} cores")  # fmt: skip
        print(f"on disk, mapped by all ranks     {stored / len(reader):.1f} bytes a sample")
        print(f"of a process alone               {held / len(reader):.1f} bytes a sample, imports included")
        print(f"{MORE:,} samples            {MORE * cost / len(reader) / 3600:.1f} core hours once, "
              f"{MORE * stored / len(reader) / 2**30:.0f} GiB of disk")  # fmt: skip
    for size in (10**6, 10**9):
        order = BlockOrder(size, 0, 0, WINDOW)
        before = time.process_time()
        count = sum(1 for position in range(0, size, size // 8) if order[position] >= 0)
        kilobytes = (order.blocks.nbytes + order.current[1].nbytes) / 1024
        print(f"block order of {size:,}: {kilobytes:,.0f} KiB, {1e3 * (time.process_time() - before) / count:.0f} ms "
              "of processor a window")  # fmt: skip


if __name__ == "__main__":
    carry_out(main)
