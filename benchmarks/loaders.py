"""The segmentation loader beside mmseg's own: images per processor second at ADE20K's protocol.

COMMAND   python -m benchmarks.loaders
COST      half a minute of one core
EXPECTED  at least 1.2 times mmseg's

Both read the same JPEG photographs and PNG label maps of 2048x512 pixels through the same random resize, crop of
512x512, flip and colours, under the same random state, in turns. Ours also checks header, orientation and label ids.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from mmengine.registry import DATASETS, DefaultScope
from mmseg.registry import DATASETS as MMSEG

import datasets.segmentation  # noqa: F401  registers SegFolder and its transforms
from benchmarks import carry_out
from study.configure import load_config

CLASSES, IMAGES = 150, 6
# The suite's transforms -> those of mmseg that give the same.
PLAIN = {"LoadImageStrict": "LoadImageFromFile", "LoadLabels": "LoadAnnotations",
         "CountedCrop": "RandomCrop", "PhotoMetricTables": "PhotoMetricDistortion",
         "PackSeg": "PackSegInputs"}  # fmt: skip


def write_images(root: Path) -> None:
    """Smooth random pictures and blocks of classes."""
    draw = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for k in range(IMAGES):
        picture, blocks = draw.integers(0, 256, (64, 256, 3), np.uint8), draw.integers(0, CLASSES, (16, 64), np.uint8)
        cv2.imwrite(str(root / f"images/{k}.jpg"), cv2.resize(picture, (2048, 512), interpolation=cv2.INTER_CUBIC))
        cv2.imwrite(str(root / f"labels/{k}.png"), cv2.resize(blocks, (2048, 512), interpolation=cv2.INTER_NEAREST))


def seconds(dataset: object, count: int) -> float:
    """Processor seconds of an image."""
    np.random.seed(0)
    before = time.process_time()
    for k in range(count):
        dataset[k % IMAGES]
    return (time.process_time() - before) / count


def main() -> None:
    """Build both and print the pairs' figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="turns of both (default %(default)s)")
    parser.add_argument("--images", type=int, default=12, help="of a turn (default %(default)s)")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    names = [str(k) for k in range(CLASSES)]
    pipeline = load_config("seg_configs/upernet.py", "paper", encoder="mae").train_dataloader.dataset.pipeline
    with tempfile.TemporaryDirectory() as place, DefaultScope.overwrite_default_scope("mmseg"):
        root = Path(place)
        write_images(root)
        ours = DATASETS.build(dict(type="SegFolder", data_root=place, images="images", labels="labels",
                                   classes=names, pipeline=pipeline))  # fmt: skip
        theirs = MMSEG.build(
            dict(type="BaseSegDataset", data_root=place, data_prefix=dict(img_path="images", seg_map_path="labels"),
                 img_suffix=".jpg", seg_map_suffix=".png", metainfo=dict(classes=names),
                 pipeline=[{**step, "type": PLAIN.get(step["type"], step["type"])} for step in pipeline])
        )  # fmt: skip
        seconds(ours, IMAGES), seconds(theirs, IMAGES)
        pairs = [(seconds(ours, args.images), seconds(theirs, args.images)) for _ in range(args.pairs)]
    ratios = sorted(slow / fast for fast, slow in pairs)
    fast, slow = np.median(pairs, axis=0)
    print(f"suite {1 / fast:.1f}, mmseg {1 / slow:.1f} images per processor second")
    print(f"suite / mmseg {np.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}], {args.pairs} pairs of "
          f"{args.images} images")  # fmt: skip


if __name__ == "__main__":
    carry_out(main)
