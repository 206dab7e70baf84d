"""ImageNet-1K for `tools/prepare.py`: a folder per class for training and validation."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.class_folders import images_in, subfolders
from datasets.parallel import each
from datasets.prepare.findings import Findings
from datasets.prepare.image_text import TOLERATED
from datasets.prepare.images import sizes_text, try_size
from datasets.prepare.job import Plan
from datasets.prepare.place import Place
from engine.errors import UserError

PUBLISHED = {"train": 1_281_167, "val": 50_000}
CLASSES = 1_000
ROOTS = (".", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # plain, and Kaggle's
PLACES = (".", "ILSVRC2012_devkit_t12/data", "devkit/data", "..", "../..", "../../..")  # of label files, from the root
CSV, SYNSETS, NUMBERS, META = (
    "LOC_val_solution.csv", "imagenet_2012_validation_synset_labels.txt", "ILSVRC2012_validation_ground_truth.txt",
    "meta.mat",
)  # fmt: skip
ORIGIN = (
    "ImageNet's download page (ILSVRC 2012, by registration) has the training images as a tar of tars, one per class, "
    "the validation images and the development kit; Kaggle's ImageNet Object Localization Challenge has all in one"
)


def imagenet(place: Place, options: dict[str, Any]) -> Plan:
    """train/CLASS and val/CLASS; a flat val/ is sorted into classes by its published labels."""
    root = next((place.source / root for root in ROOTS if (place.source / root / "train").is_dir()), None)
    if root is None or not (root / "val").is_dir():
        raise UserError(f"{root or place.source}: no folder {'val' if root else 'train'} (looked also in "
                        f"{', '.join(ROOTS[1:])}); {ORIGIN}")  # fmt: skip
    if not subfolders(root / "train"):
        raise UserError(f"{root / 'train'} holds no class folder: unpack each nNNNNNNNN.tar into a folder of its name")
    place.link("train", root / "train")
    done = [f"linked {root / 'train'}"]
    if subfolders(root / "val"):
        place.link("val", root / "val")
        done.append(f"linked {root / 'val'}")
    else:
        done.append(sort_validation(place, root))
    # root serves pretraining; train and test serve tools/test.py
    data = {"name": place.name, "kind": "image_folder", "root": str(place.out / "train"),
            "train": str(place.out / "train"), "test": str(place.out / "val")}  # fmt: skip

    def check(findings: Findings) -> dict[str, Any]:
        check_classes(place.out, findings)
        return {}

    command = "python tools/train.py pretrain/configs/mae.py --scale paper --amp"
    elsewhere = Path("data/imagenet").resolve() != place.out.resolve()  # not where the configs look by themselves
    return Plan(check, data, command, overlay=elsewhere, done=done)


def sort_validation(place: Place, root: Path) -> str:
    """Link each image of the flat val/ into a folder of its class; returns what was done.

    Raises:
        UserError: no labels, or labels that are not of these images.
    """
    files = [path.name for path in images_in(root / "val")]
    labels, path = validation_labels(root, files)
    unknown = [name for name in files if name not in labels]
    if unknown:
        raise UserError(f"{path} has no class for {len(unknown)} of {len(files)} images of {root / 'val'}, first "
                        f"{unknown[0]}: take the file of the same release as the images")  # fmt: skip
    links = [(labels[name], name) for name in files]
    digest = hashlib.sha256(repr((str(root.resolve()), links)).encode()).hexdigest()
    with place.folder("val", {"links": digest}) as made:
        for label, name in links if made else ():
            (made / label).mkdir(exist_ok=True)
            (made / label / name).symlink_to((root / "val" / name).resolve())
    return f"linked {len(links):,} images of {root / 'val'} into class folders, by {path}"


def validation_labels(root: Path, files: Sequence[str]) -> tuple[dict[str, str], Path]:
    """File name -> class (its WordNet id), from whichever of the published label files is there; and that file.

    Raises:
        UserError: none is there, or one is not what its name says.
    """
    found = {name: next((p for p in (root / place / name for place in PLACES) if p.is_file()), None)
             for name in (CSV, SYNSETS, NUMBERS, META)}  # fmt: skip
    path = found[CSV] or found[SYNSETS] or (found[NUMBERS] if found[META] else None)
    if path is None:
        raise UserError(
            f"{root / 'val'} has no class folders, and no {CSV} (Kaggle), no {SYNSETS} (tensorflow/models) and no "
            f"{NUMBERS} with {META} (development kit) is near it: put one of them into {root}"
        )
    try:
        if path.name == CSV:
            with open(path, newline="") as handle:
                return {
                    f"{row['ImageId']}.JPEG": row["PredictionString"].split()[0] for row in csv.DictReader(handle)
                }, path
        lines = path.read_text().split()
        if path.name == NUMBERS:
            names = synsets(found[META])
            lines = [names[int(line)] for line in lines]
    except (OSError, KeyError, IndexError, TypeError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path} cannot be read as labels of the validation images ({error!r}): fetch it again"
        ) from None
    # both text files have a line for each image of the whole release, in the order of the images' numbers
    return {f"ILSVRC2012_val_{number:08d}.JPEG": label for number, label in enumerate(lines, start=1)}, path


def synsets(path: Path) -> dict[int, str]:
    """ILSVRC2012_ID -> WordNet id, from the development kit's meta.mat."""
    from scipy.io import loadmat

    rows = loadmat(path, squeeze_me=True)["synsets"]
    return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}


def check_classes(out: Path, findings: Findings) -> None:
    """The same classes in both splits, none empty; every image whole."""
    classes = {split: subfolders(out / split) for split in PUBLISHED}
    for name in sorted(set(classes["train"]) ^ set(classes["val"])):
        split = "val" if name in classes["train"] else "train"
        findings.problem("class folder without its counterpart", f"{name} is missing in {out / split}")
    findings.count("classes", "folders", len(classes["train"]), CLASSES)
    for split, names in classes.items():
        paths = []
        for name in names:
            found = [str(path) for path in images_in(out / split / name)]
            if not found:
                findings.problem("class folder without an image", str(out / split / name))
            paths += found
        findings.count(split, "images", len(paths), PUBLISHED[split])
        looks = list(zip(paths, each(try_size, paths, f"check {split}"), strict=True))
        faults = [look for _, look in looks if isinstance(look, str)]
        worst = len(faults) > TOLERATED * len(paths)
        for fault in faults:
            (findings.problem if worst else findings.note)("corrupt image", fault)
        if sizes := [look for _, look in looks if not isinstance(look, str)]:
            findings.lines.append((f"{split} sizes", sizes_text(sizes)))
        findings.take_sample([path for path, look in looks if not isinstance(look, str)])
