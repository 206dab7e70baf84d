"""What `tools/prepare.py` can be told about a folder: (flags, argparse's arguments)."""

OWN = (
    "coco-format",
    "mmseg-folder",
    "depth-folder",
    "image-text",
    "image-folder",
    "captions",
)  # kinds of a user's own data, not published
SUBSET = (("--allow-subset",), dict(action="store_true", help="accept other counts than the published, for trials"))
FOLDERS = "folders below SOURCE, such as {example}/{{split}} (default: found by their usual names)"
IMAGES = (("--images",), dict(metavar="PATTERN", help="image " + FOLDERS.format(example="images")))
LABELS = (("--labels",), dict(metavar="PATTERN", help="label " + FOLDERS.format(example="labels")))
ANNOTATIONS = (
    ("--annotations",),
    dict(
        dest="labels",
        metavar="PATTERN",
        help="COCO files below SOURCE, such as annotations/{split}.json; with --images",
    ),
)
SUFFIXES = (
    (
        ("--image-suffix",),
        dict(metavar="SUFFIX", help='where names differ by more than the extension: "_leftImg8bit.png"'),
    ),
    (("--label-suffix",), dict(metavar="SUFFIX", help='likewise: "_gtFine_labelTrainIds.png"')),
)
SPLITS = (
    ("--splits",),
    dict(
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        help="what the three splits are called; one name may stand twice (default: found)",
    ),
)
SIZE = (
    ("--size",),
    dict(
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="pixels of training and test images in the overlay (default: small, for first trials on a CPU)",
    ),
)
SIDE = (("--size",), dict(type=int, metavar="SIDE", help="pixels per side in pretraining (default: the config's)"))
PICTURES = (("--images",), dict(metavar="FOLDER", help="where the table's paths begin (default: beside it)"))
FORCE = (("--force",), dict(action="store_true", help="accept distances that no camera sees"))
TREES = (IMAGES, LABELS, *SUFFIXES, SPLITS, SIZE)
CLASSES = (("--classes",), dict(metavar="FILE", help="class names, one a line (default: class 0, class 1, ...)"))
IGNORE = (("--ignore",), dict(type=int, nargs="+", metavar="ID", help="ids that count nowhere, beside 255"))
ZERO = (("--reduce-zero-label",), dict(action="store_true", help="ids start at 1, and 0 is ignored"))
UNITS = (
    (("--depth-scale",), dict(type=float, default=1000.0, help="units of the files per metre (default %(default)g)")),
    (("--max-depth",), dict(type=float, default=10.0, help="metres learned from and scored (default %(default)g)")),
)
LISTS = (("--lists",), dict(metavar="FOLDER", help="GLPDepth's train_list.txt and test_list.txt (default: found)"))
KARPATHY = (("--splits-file",), dict(metavar="FILE", help="Karpathy's splits, where they lie elsewhere"))
PATTERN = (("--pattern",), dict(default="*.tar", help="which files of the folder are shards (default %(default)s)"))
