"""Check a data set that you have, put it where the configs read it, and say what is missing.

    python tools/prepare.py ade20k PATH/TO/ADEChallengeData2016
    python tools/prepare.py mmseg-folder PATH/TO/MINE --classes names.txt --out data/mine
    python tools/prepare.py KIND --help

Nothing is downloaded and the source is never changed: the prepared folder holds links, converted files and
prepared.json. A second run finds the work done; an interrupted one is simply repeated. docs/data.md has the details.
"""

import argparse
import importlib
from collections.abc import Sequence

import start  # isort: split

from datasets.prepare import options

# kind -> module, function in it, what SOURCE is, options
KINDS = {
    "coco": ("datasets.prepare.coco", "coco", "COCO 2017: train2017, val2017, annotations", (options.SUBSET,)),
    "ade20k": ("datasets.prepare.segmentation", "ade20k", "ADEChallengeData2016, as released", (options.SUBSET,)),
    "nyuv2": ("datasets.prepare.nyuv2", "nyuv2",
              "NYU Depth V2: GLPDepth's folders, or the labelled .mat file with splits.mat",
              (options.LISTS, options.SUBSET)),
    "imagenet": ("datasets.prepare.imagenet", "imagenet", "ImageNet-1K: train/CLASS, val/CLASS or a flat val",
                 (options.SUBSET,)),
    "flickr30k": ("datasets.prepare.karpathy", "flickr30k", "Flickr30K's images and dataset_flickr30k.json",
                  (options.KARPATHY, options.SUBSET)),
    "coco-captions": ("datasets.prepare.karpathy", "coco_captions", "COCO's images and dataset_coco.json",
                      (options.KARPATHY, options.SUBSET)),
    "camvid": ("datasets.prepare.segmentation", "camvid", "CamVid of the SegNet tutorial", (options.SUBSET,)),
    "coco-format": ("datasets.prepare.coco", "coco_format", "your own images with COCO files",
                    (options.ANNOTATIONS, options.IMAGES, options.SPLITS, options.SIZE)),
    "mmseg-folder": ("datasets.prepare.segmentation", "mmseg_folder", "your own images and label maps",
                     (options.CLASSES, options.IGNORE, options.ZERO, *options.TREES)),
    "depth-folder": ("datasets.prepare.depth", "depth_folder", "your own images and 16-bit depth maps",
                     (*options.UNITS, options.FORCE, *options.TREES)),
    "image-text": ("datasets.prepare.image_text", "image_text",
                   "your own image-text pairs in tar shards", (options.PATTERN, options.SIDE)),
    "captions": ("datasets.prepare.captions", "captions",
                 "a table of your image paths and texts (.jsonl, .csv, .tsv), to be written as tar shards",
                 (options.PICTURES, options.SIDE)),
    "image-folder": ("datasets.prepare.image_folder", "image_folder", "your own images, a folder per class",
                     (options.SPLITS, options.SIDE)),
}  # fmt: skip


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, (_, _, what, flags) in KINDS.items():
        one = kinds.add_parser(kind, help=what, description=f"Check and prepare {what}.")
        one.add_argument("source", metavar="SOURCE", help=f"the folder that holds {what}")
        default = "SOURCE's name" if kind in options.OWN else kind
        one.add_argument("--out", metavar="FOLDER", help=f"where to put the prepared data (default: data/{default})")
        for names, details in flags:
            one.add_argument(*names, **details)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, prepare."""
    values = vars(parse_arguments(arguments))
    kind, source, out = (values.pop(key) for key in ("kind", "source", "out"))
    start.mend()  # the heavy imports, after the arguments are known to be good
    from datasets.prepare.job import prepare

    module, function, _, _ = KINDS[kind]
    prepare(kind, getattr(importlib.import_module(module), function), source, out, values)


if __name__ == "__main__":
    start.run(main, advice="repeat the command, which finds what is done")
