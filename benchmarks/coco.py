"""COCO files: what a data set costs before its first sample, in processor time, and in the memory of ranks and workers.

COMMAND   python -m benchmarks.coco --images 118000
COST      ten minutes of one core, 7 GiB of memory and 1 GiB of disk at the size of COCO's train2017
EXPECTED  with the cache a small part of mmdet's processor time, and below half its memory for two ranks with workers

The annotations are synthetic: 7.3 objects an image, polygons of 20 points; the images are hard links of a few JPEGs.
Both data sets are built in fresh processes, one after another, and every sample is read in ranks and in workers.
Memory is what /proc/PID/smaps_rollup says after all have read, less what it said of the ranks before they built
anything: pages that a process alone has written, and the proportional share of all pages.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset
from PIL import Image
from tqdm import tqdm

from benchmarks import carry_out
from datasets.detection import CocoFolder

HEIGHT, WIDTH = 480, 640
OBJECTS, POINTS, CLASSES = 7.3, 20, 80
LINKS = 10_000  # hard links of one file, of which file systems allow a limited number
RANKS = 2
FOLDER, FILE = "images", "annotations.json"


def write_images(folder: Path, count: int) -> None:
    """JPEGs of noise, each linked under many names."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:012d}.jpg"
        if number % LINKS == 0:
            first = path
            Image.fromarray(noise.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
        else:
            os.link(first, path)


def write_annotations(path: Path, count: int) -> int:
    """A COCO file of `count` images; returns the number of objects."""
    draw = np.random.default_rng(1)
    images = [{"id": number + 1, "file_name": f"{number:012d}.jpg", "height": HEIGHT, "width": WIDTH}
              for number in range(count)]  # fmt: skip
    categories = [{"id": number + 1, "name": f"class {number}"} for number in range(CLASSES)]
    angle, total = np.arange(POINTS) * 2 * np.pi / POINTS, 0
    with open(path, "w") as file:
        file.write(f'{{"images": {json.dumps(images)}, "categories": {json.dumps(categories)}, "annotations": [')
        for number in tqdm(range(count), "write annotations", unit="image", leave=False):
            for _ in range(draw.poisson(OBJECTS)):
                radius = draw.uniform(4, 100, 2) * draw.uniform(0.8, 1, (POINTS, 1))  # [POINTS, 2]
                centre = draw.uniform((110, 110), (WIDTH - 110, HEIGHT - 110))
                points = (centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)).round(2)
                low, high = points.min(axis=0), points.max(axis=0)
                x, y = points.T
                total += 1
                thing = {"id": total, "image_id": number + 1, "category_id": int(draw.integers(CLASSES)) + 1,
                         "bbox": [*low.tolist(), *(high - low).round(2).tolist()], "iscrowd": 0,
                         "area": round(abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2, 4),
                         "segmentation": [points.ravel().tolist()]}  # fmt: skip
                file.write(f"{', ' if total > 1 else ''}{json.dumps(thing)}")
        file.write("]}")
    return total


def build(way: str, root: Path) -> CocoDataset:
    """The training data set: mmdet's, or the suite's."""
    kind = {"mmdet": CocoDataset, "suite": CocoFolder}[way]
    with contextlib.redirect_stdout(io.StringIO()):
        return kind(ann_file=str(root / FILE), data_prefix={"img": str(root / FOLDER)}, pipeline=[],
                    metainfo={"classes": [f"class {number}" for number in range(CLASSES)]},
                    filter_cfg={"filter_empty_gt": True, "min_size": 32})  # fmt: skip


def read_all(data: CocoDataset) -> float:
    """Processor seconds in which every sample is read once."""
    start = time.process_time()
    for number in range(len(data)):
        data.get_data_info(number)
    return time.process_time() - start


def worker(data: CocoDataset, line: Connection) -> None:
    """A process forked from a rank, as a loader's workers are."""
    line.send(read_all(data))
    line.recv()


def rank(way: str, root: Path, line: Connection) -> None:
    """A training process: wait, build, read all, let a worker do so too, tell, wait."""
    line.send(None)
    line.recv()
    before, start = memory(os.getpid())["private"], time.process_time()
    data = build(way, root)
    cost = {"built": time.process_time() - start, "samples": len(data)}
    cost["pickles"] = data.data_bytes.nbytes if way == "mmdet" else 0
    cost["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cost["read"] = read_all(data)
    cost["private"] = memory(os.getpid())["private"] - before  # a worker shares what is written by now
    here, there = multiprocessing.Pipe()
    other = multiprocessing.get_context("fork").Process(target=worker, args=(data, there), daemon=True)
    other.start()
    here.recv()
    line.send({**cost, "worker": other.pid})
    line.recv()


def memory(process: int) -> dict[str, int]:
    """Bytes of a process: its proportional share, and what it alone has written."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    fields = {name: int(value.split()[0]) * 1024 for name, value in (line.split(":", 1) for line in lines)}
    return {"share": fields["Pss"], "private": fields["Private_Dirty"]}


def measure(way: str, root: Path, ranks: int) -> dict[str, Any]:
    """Build in `ranks` fresh processes, one after another, and look at them while all are alive.

    Returns: of the last rank `built`, `read` (processor seconds), `samples` and, in bytes, `peak`, `pickles` (of
    mmdet's), `private` (written by it alone) and `worker` (by its worker alone); and `share`, the bytes of all
    processes together.
    """
    context, started = multiprocessing.get_context("spawn"), []
    for _ in range(ranks):
        line, theirs = context.Pipe()
        process = context.Process(target=rank, args=(way, root, theirs), daemon=False)
        process.start()
        line.recv()
        started.append((process, line))
    before = [memory(process.pid) for process, _ in started]
    found = []
    for _, line in started:
        line.send(None)
        found.append(line.recv())
    after = [memory(process.pid) for process, _ in started]
    workers = [memory(cost["worker"]) for cost in found]
    for process, line in started:
        line.send(None)
        process.join()
    share = sum(one["share"] for one in [*after, *workers]) - sum(one["share"] for one in before)
    return {**found[-1], "share": share, "worker": workers[-1]["private"]}


def main() -> None:
    """Write the files, build both data sets and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5_000, help="default %(default)s; train2017 has 118,000")
    parser.add_argument("--dir", type=Path, help="where the files may lie (default: the system's temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as place:
        root = Path(place, "coco")
        root.mkdir()
        write_images(root / FOLDER, args.images)
        objects = write_annotations(root / FILE, args.images)
        first = measure("suite", root, 1)
        suite, mmdet = measure("suite", root, RANKS), measure("mmdet", root, RANKS)
        packed = next(Path(place, ".coco.index").glob("*.npy")).stat().st_size
        size = (root / FILE).stat().st_size
    assert suite["samples"] == mmdet["samples"]
    mib = 2**20
    print(f"{args.images:,} images, {objects:,} objects, {size / mib:,.0f} MiB of JSON")
    print(f"what is read of them                 mmdet {mmdet['pickles'] / mib:,.0f} MiB of pickles in each rank, "
          f"suite {packed / mib:,.0f} MiB of one file")  # fmt: skip
    print(f"processor seconds to a data set      mmdet {mmdet['built']:.1f}, suite {suite['built']:.2f}, "
          f"and {first['built']:.1f} once, with its checks")  # fmt: skip
    print(f"suite / mmdet                        {suite['built'] / mmdet['built']:.3f}, "
          f"once {first['built'] / mmdet['built']:.2f}")  # fmt: skip
    print(f"peak of a process that builds        mmdet {mmdet['peak'] / mib:,.0f} MiB, suite "
          f"{suite['peak'] / mib:,.0f} MiB, once {first['peak'] / mib:,.0f} MiB")  # fmt: skip
    print("reading a sample                     "
          + ", ".join(f"{name} {1e6 * one['read'] / one['samples']:.0f} us" for name, one in
                      (("mmdet", mmdet), ("suite", suite))))  # fmt: skip
    for name, key in (("written by a rank alone", "private"), ("written by a worker alone", "worker"),
                      (f"{RANKS} ranks, a worker each, together", "share")):  # fmt: skip
        print(f"{name:36s} mmdet {mmdet[key] / mib:,.0f} MiB, suite {suite[key] / mib:,.0f} MiB, "
              f"ratio {suite[key] / mmdet[key]:.2f}")  # fmt: skip


if __name__ == "__main__":
    carry_out(main)
