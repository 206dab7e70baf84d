"""Run a finished run's model on your own pictures: files of what it predicts, and drawings of them.

    python tools/predict.py runs/tiny/upernet/mae/seed0 my/photos out
    python tools/predict.py runs/tiny/mask_rcnn/mae/seed0 photo.jpg out --threshold 0.5

RUN is the folder of a finished segmentation, detection or depth run, IMAGES a picture or a folder, which is searched
with its subfolders. Pictures are read as in training (EXIF's orientation, 16 bits, palettes: docs/data.md) and resized
as in the run's test.

OUT gets, beside index.json, class maps in the data's own label values, COCO's detections.json, or 16-bit depth maps in
millimetres, each at its picture's own size; and in OUT/drawn the pictures with a legend of classes, boxes with names
and scores, or depth with a bar in metres. docs/results.md has the formats.
"""

import argparse
from collections.abc import Sequence

import start


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("images", metavar="IMAGES", help="a picture, or a folder of pictures")
    parser.add_argument("out", metavar="OUT", help="folder to fill; it must be empty or not yet there")
    parser.add_argument("--threshold", type=float, default=0.3, help="score from which detections are drawn (default "
                        "%(default)s); detections.json holds all")  # fmt: skip
    parser.add_argument("--no-drawings", action="store_true", help="leave the files alone")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, predict, say where it lies."""
    args = parse_arguments(arguments)
    start.mend()  # the heavy imports, after the arguments are known to be good
    from study.predict import predict

    print(predict(args.run, args.images, args.out, args.threshold, not args.no_drawings))


if __name__ == "__main__":
    start.run(main)
