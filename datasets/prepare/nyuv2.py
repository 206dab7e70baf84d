"""NYU Depth V2 for `tools/prepare.py`: GLPDepth's folders or the labelled .mat file, as images and 16-bit depth.

GLPDepth (github.com/vinvino02/GLPDepth) and BTS (github.com/cleinc/bts) keep sync/SCENE/rgb_NNNNN.jpg with
sync_depth_NNNNN.png for training, the official test images in official_splits/test, and lists of the pairs.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from datasets.prepare.depth import LINKS, check_depth, hint_of_lists
from datasets.prepare.findings import Findings
from datasets.prepare.job import Plan, paper_plan
from datasets.prepare.layouts import link_trees
from datasets.prepare.place import Place, stamp
from engine.errors import UserError
from engine.files import sha256

PUBLISHED = {"train": 24_231, "test": 654}
SIZE = (480, 640)
TREES = {"train": ("sync", "nyu_depth_v2/sync", "nyu_depth_v2"),
         "test": ("official_splits/test", "nyu_depth_v2/official_splits/test")}  # fmt: skip
LISTS = {"train": ("train_list.txt", "nyudepthv2_train_files_with_gt.txt"),
         "test": ("test_list.txt", "nyudepthv2_test_files_with_gt.txt")}  # fmt: skip
LABELLED, OFFICIAL = "nyu_depth_v2_labeled.mat", "splits.mat"
NUMBERS = {"train": "trainNdxs", "test": "testNdxs"}
ORIGIN = (
    f"the NYU Depth Dataset V2's page has {LABELLED} and {OFFICIAL} (train/test split), which suffice for the test "
    "images; the 24,231 training pairs are the folder sync that the repository cleinc/bts links to"
)
Pairs = list[tuple[str, Path, Path]]


def nyuv2(place: Place, options: dict[str, Any]) -> Plan:
    """Training pairs from sync/ or the labelled file, test pairs from official_splits/test or the labelled file."""
    done, absent, hints = [], [], {}
    if all((place.source / pattern.format(split=split)).is_dir() for pattern in LINKS for split in PUBLISHED):
        done += link_trees(place, [LINKS], {"splits": ["train", "test", "test"]}, *LINKS)[1]
    else:
        for split in PUBLISHED:
            trees = [place.source / name for name in TREES[split]]
            tree = next((tree for tree in trees if any(tree.glob("*/rgb_*.jpg"))), None)
            if tree is not None:
                folders = [Path(options["lists"])] if options.get("lists") else [place.source, tree.parent, tree]
                pairs, lost, listed = find_pairs(tree, split, folders)
                absent += lost
                link_pairs(place, split, pairs)
                done.append(f"linked {len(pairs):,} pairs of {tree} for {split}, {listed or 'all that are there'}")
                hints[split] = "" if listed else hint_of_lists(place.source)
            else:
                done.append(convert(place, split))
                hints[split] = f"{LABELLED} has the official training images only; {ORIGIN}" if split == "train" else ""

    command = "python tools/train.py depth/configs/mae.py --scale paper --amp"
    plan = paper_plan(place, "depth/configs/_base_/scale_paper.py", command, done)

    def check(findings: Findings) -> dict[str, Any]:
        for path in absent:
            findings.problem("file of the list that is not there", path)
        for size in check_depth(plan.data, findings, PUBLISHED, hints):
            if size != SIZE:
                sentence = f"one is {size[1]} x {size[0]}; the crops need 640 x 480"
                findings.problem("image that is not 640 x 480", sentence)
        return {}

    plan.check = check
    return plan


def first_of(paths: Sequence[Path]) -> Path | None:
    """The first of `paths` that is there."""
    return next((path for path in paths if path.exists()), None)


def find_pairs(tree: Path, split: str, folders: Sequence[Path]) -> tuple[Pairs, list[str], str]:
    """The pairs of a split: those of its list, or without one all that lie there.

    Returns: (SCENE/NNNNN, image, depth) of each; the listed files that are absent; the list's path or "".

    Raises:
        UserError: a list of another form, or no pair at all.
    """
    path = first_of([folder / name for folder in folders for name in LISTS[split]])
    if path is None:
        images = sorted(tree.glob("*/rgb_*.jpg"))
        listed = [(image, image.with_name(f"sync_depth_{image.stem[4:]}.png")) for image in images]
    else:
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        if any(len(row) < 2 for row in rows):
            raise UserError(f"{path} is no list of pairs: each line names an image and a depth map; fetch it again")
        listed = [(tree / row[0].lstrip("/"), tree / row[1].lstrip("/")) for row in rows]
    if not listed:
        raise UserError(f"{path or tree}: no pair of rgb_NNNNN.jpg and sync_depth_NNNNN.png; {ORIGIN}")
    absent = [str(file) for pair in listed for file in pair if not file.is_file()]
    pairs = [(f"{image.parent.relative_to(tree)}/{image.stem.removeprefix('rgb_')}", image, depth)
             for image, depth in listed if image.is_file() and depth.is_file()]  # fmt: skip
    return pairs, absent, str(path or "")


def link_pairs(place: Place, split: str, pairs: Pairs) -> None:
    """Link the files under the equal names that the data set reads: images/SPLIT/SCENE/NNNNN.jpg, depth/..., .png."""
    for number, folder in enumerate(("images", "depth"), start=1):
        links = [(name, pair[number - 1]) for name, *pair in pairs]
        digest = hashlib.sha256(repr([(name, str(file.resolve())) for name, file in links]).encode()).hexdigest()
        with place.folder(f"{folder}/{split}", {"links": digest}) as made:
            for name, file in links if made else ():
                link = made / f"{name}{file.suffix}"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.resolve())


def convert(place: Place, split: str) -> str:
    """Write a split's images and depth maps from the labelled file; returns what was done.

    As the repositories above do it: raw depth (not filled in) in millimetres, cut to integers, and the white border of
    the images black. PNG instead of JPEG, so nothing is lost.

    Raises:
        UserError: no such file, or one of another content.
    """
    source = place.source
    mat = source if source.suffix == ".mat" else source / LABELLED
    official = mat.with_name(OFFICIAL)
    for path in (mat, official):
        if not path.is_file():
            tried = "" if source.suffix == ".mat" else f" (nor a folder {' or '.join(TREES[split])})"
            raise UserError(f"{place.source}: no {path.name}{tried} for the {split} images; {ORIGIN}")
    import h5py  # only here: it is needed for this one file
    from scipy.io import loadmat

    made_from = {"mat": stamp(mat), "splits": sha256(official), "split": split}
    try:
        numbers = [int(n) - 1 for n in loadmat(official)[NUMBERS[split]].ravel()]  # the file counts from 1
        with h5py.File(mat, "r") as file:
            scenes = ["".join(map(chr, np.ravel(file[scene]))) for scene in np.ravel(file["sceneTypes"])]
            with (place.folder(f"images/{split}", made_from) as images,
                  place.folder(f"depth/{split}", made_from) as depths):  # fmt: skip
                for n in tqdm(numbers, desc=f"convert {split}", unit="pair") if images or depths else ():
                    name = f"{scenes[n]}/{n:05d}.png"
                    if images:
                        write_image(images / name, file["images"][n])
                    if depths:
                        write_depth(depths / name, file["rawDepths"][n])
    except (OSError, KeyError, ValueError, IndexError, TypeError, NotImplementedError) as error:
        raise UserError(f"{mat} or {official.name} cannot be read as NYU Depth V2 ({error}): fetch it again") from None
    return f"converted {len(numbers):,} pairs of {mat.name} for {split}"


def write_image(path: Path, stored: np.ndarray) -> None:
    """uint8 [3, W, H], as MATLAB stores it -> RGB PNG [H, W, 3] with a black border."""
    image = stored.transpose(2, 1, 0)  # [H, W, 3]
    framed = np.zeros_like(image)
    framed[7:474, 7:632] = image[7:474, 7:632]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(framed).save(path)


def write_depth(path: Path, stored: np.ndarray) -> None:
    """float32 metres [W, H] -> 16-bit PNG [H, W] in millimetres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((stored.T * 1000.0).astype(np.uint16)).save(path)
