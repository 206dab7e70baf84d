"""Give labelled images captions, made from the names of their classes by templates, to pretrain CLIP and its kin on.

    python tools/caption_classes.py data/cifar10/train data/cifar10/shards --set recognition/sets/cifar10.py
    python tools/caption_classes.py data/mine/train data/mine/shards --templates "a photo of a {}." "a {} at night."

SOURCE holds a folder per class, OUT gets tar shards of kind "image_text" whose JSON names the captions "class": every
image has all its class's captions, and pretraining draws one of them each time it shows the image. A class is called
by the set's name for its folder, or by the folder's own, "_" read as a space. A whole example of what follows:
docs/overlays/cifar10.py.

--wrong and --missing add captions "noisy", as the web's are: those shares of the images are called by the name of
another class, or by none ("a photo of a thing."); which images is drawn once, by --seed. Choose them for a run with
--cfg-options captions=noisy.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import start  # isort: split

from engine.errors import UserError


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    parser.add_argument("source", metavar="SOURCE", type=Path, help="folder with a folder per class")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of shards to make")
    names = parser.add_mutually_exclusive_group(required=True)
    names.add_argument("--set", metavar="FILE", type=Path, help="a file of recognition/sets: its names and templates")
    names.add_argument("--templates", nargs="+", metavar="TEXT", help="templates with {} where the class name goes")
    parser.add_argument("--wrong", metavar="SHARE", type=float, default=0.0, help="images with another class's name")
    parser.add_argument("--missing", metavar="SHARE", type=float, default=0.0, help="images without a name")
    parser.add_argument("--seed", type=int, default=0, help="of --wrong and --missing (default: %(default)s)")
    args = parser.parse_args(arguments)
    if min(args.wrong, args.missing) < 0 or args.wrong + args.missing > 1:
        parser.error("--wrong and --missing are shares: neither is below 0, together they are at most 1")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    """Name the classes, write the shards."""
    args = parse_arguments(arguments)
    start.mend()  # the heavy imports, after the arguments are known to be good
    from datasets.class_captions import Noise, write_class_shards
    from datasets.class_folders import class_names
    from engine.config import read
    from recognition.naming import class_words
    from recognition.zero_shot import prompts, published

    asked = {"templates": args.templates}
    if args.set:
        questions = read(args.set).get("questions", {})
        if len(questions) != 1:
            raise UserError(f"{args.set} asks {len(questions)} questions, not one: name a file of recognition/sets")
        (asked,) = questions.values()
    folders = class_names(args.source)
    names = class_words(folders, asked, str(args.source))
    templates = published(asked["templates"])
    captions, noise = prompts(names, templates), None
    if args.wrong or args.missing:
        (nameless,) = prompts(["thing"], templates)
        noise = Noise(args.wrong, args.missing, nameless, args.seed)
    count = write_class_shards(args.source, dict(zip(folders, captions, strict=True)), args.out, noise=noise)
    print(f"{args.out}: {count} images of {len(folders)} classes, {len(captions[0])} captions each")


if __name__ == "__main__":
    start.run(main)
