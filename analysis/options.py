"""Every analysis and what `tools/analyse.py` can tell it, without its libraries."""

import argparse
from dataclasses import dataclass
from typing import Any

SCENES = "data/scenes"  # the default images are held-out scenes
IMAGES = "images/test"
COLOURS = "classes/colour/test"  # the same by the colour of the largest solid, as for k-NN and the probes

Option = tuple[str, dict[str, Any]]  # a flag and argparse's arguments


@dataclass(frozen=True)
class Analysis:
    """What one file of this room finds out.

    Attributes:
        about: half a sentence, in lower case.
        options: the arguments of its `run`, and --out.
        scenes: the folder of the scenes that it shows where --images is not given; None: it takes no images.
    """

    about: str
    options: tuple[Option, ...]
    scenes: str | None = None


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


OUT = ("--out", dict(help="folder of the result (default: analysis/<name> beside the checkpoint)"))
CHECKPOINT = ("--checkpoint", dict(required=True, metavar="FOLDER", help="checkpoint folder"))
CHECKPOINTS = ("--checkpoint", dict(required=True, nargs="+", metavar="FOLDER", help="checkpoint folder, one or more"))
MASKS = ("--masks", dict(help="COCO file of masks (default: that of the default images)"))
PROMPT = ("--prompt", dict(default="a photo of a {}", help="text of a category (default: %(default)r)"))
RENORMALISE = ("--renormalise", dict(action="store_true",
               help="bring attention to patches back to sum 1 after the class token is dropped"))  # fmt: skip
VALUE_PATH = ("--value-path", dict(action="store_true", help="last block without mixing of places"))
SIZE = ("--size", dict(type=positive, help="pixels per side (default: the checkpoint's)"))
RUNS = ("--runs", dict(type=positive, default=200, help="timed runs, 100 or more (default: %(default)s)"))
LINE = ("--line", dict(action="append", nargs="+", required=True, metavar=("NAME", "RESULT"),
        help="a name and result.json of several data sizes; give it twice or more, baseline first"))  # fmt: skip


def counted(count: int, scenes: str) -> tuple[Option, ...]:
    """The options of an analysis that shows images to one checkpoint."""
    return (
        CHECKPOINT,
        OUT,
        ("--images", dict(help=f"folder of images (default: {SCENES}/{scenes})")),
        ("--count", dict(type=positive, default=count, help="how many of the images (default: %(default)s)")),
    )


SHOWN = counted(64, IMAGES)

ANALYSES = {
    "attention_distance": Analysis("how far the heads of each layer attend, in pixels", (*SHOWN, RENORMALISE), IMAGES),
    "attention_maps": Analysis(
        "where the last block attends: entropy, share on objects, centre", (*SHOWN, MASKS), IMAGES
    ),
    "similarity_maps": Analysis(
        "which patches are like a text: pointing game and IoU", (*SHOWN, MASKS, PROMPT, VALUE_PATH), IMAGES
    ),
    "grad_cam": Analysis(
        "which places raise the similarity to a text: pointing game and IoU", (*SHOWN, MASKS, PROMPT), IMAGES
    ),
    "tsne": Analysis("a map of pooled features by class: silhouette and k-NN", counted(256, COLOURS), COLOURS),
    "cae_reconstruction": Analysis("CAE decoding its encoder's own output: PSNR", (CHECKPOINTS, *SHOWN[1:]), IMAGES),
    "latency": Analysis(
        "time of one image through the encoder in its form for inference", (CHECKPOINT, OUT, SIZE, RUNS)
    ),
    "data_scaling": Analysis(
        "how much less data one pretraining needs than another for the same score",
        (LINE, ("--out", dict(required=True, help="folder of the result"))),
    ),
}
