"""Images with label maps: a user's folders, CamVid, ADE20K."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.images import header_of, read_plane
from datasets.parallel import each
from datasets.prepare.findings import Findings
from datasets.prepare.images import Look, look_at_image, sizes_text, trial_size
from datasets.prepare.job import Plan, paper_plan
from datasets.prepare.layouts import link_trees
from datasets.prepare.place import Place
from datasets.prepare.twins import compare_splits
from datasets.sections import SPLITS
from datasets.segmentation import IGNORED, LabelIds, fit_to_image, look_for_pairs
from engine.config import read
from engine.errors import UserError
from engine.provenance import REPOSITORY

SWAPPED = 20  # pairs that tell whether the folders stand for each other
LINKS = ("images/{split}", "annotations/{split}")
LAYOUTS = (
    LINKS, ("images/{split}", "labels/{split}"),
    ("images/{split}", "masks/{split}"), ("img_dir/{split}", "ann_dir/{split}"),
    ("leftImg8bit/{split}", "gtFine/{split}"), ("{split}/images", "{split}/annotations"),
    ("{split}/images", "{split}/labels"), ("{split}/images", "{split}/masks"),
)  # fmt: skip
CAMVID = ({"train": 367, "val": 101, "test": 233}, "the SegNet tutorial's release of CamVid (its GitHub repository)")
ADE20K = (
    {"training": 20_210, "validation": 2_000},
    "the MIT Scene Parsing Benchmark's page, file ADEChallengeData2016 (not the full ADE20K release)",
)


def mmseg_folder(place: Place, options: dict[str, Any]) -> Plan:
    """A user's own folders of images and label maps."""
    splits, done = link_trees(place, LAYOUTS, options, *LINKS)
    data = {"name": place.name, "kind": "seg", "root": str(place.out), "images": LINKS[0],
            "labels": LINKS[1], "splits": splits}  # fmt: skip
    data |= {key: options[key] for key in ("image_suffix", "label_suffix", "reduce_zero_label") if options.get(key)}
    data["ignore"] = tuple(options.get("ignore") or ())
    classes = class_names(options["classes"]) if options.get("classes") else None
    size = tuple(options["size"]) if options.get("size") else None

    def check(findings: Findings) -> dict[str, Any]:
        return check_segmentation({**data, "classes": classes}, findings, size)

    remarks = "`size` suits first trials on a CPU; names, ignored ids and a palette can be edited here."
    command = "python tools/train.py seg_configs/upernet.py --encoder random"
    return Plan(check, data, command, overlay=True, remarks=remarks, done=done)


def camvid(place: Place, options: dict[str, Any]) -> Plan:
    """CamVid in the SegNet tutorial's folders (train, trainannot, ...) or in those that its overlay reads."""
    published, origin = CAMVID
    layouts = (("{split}", "{split}annot"), LAYOUTS[0])
    try:
        splits, done = link_trees(place, layouts, {"splits": list(published)}, *LINKS)
    except UserError as error:
        raise UserError(f"{error}; the data come from {origin}") from None
    data = read(REPOSITORY / "docs/overlays/camvid.py").data.to_dict()
    data |= {"name": place.name, "root": str(place.out), "splits": splits}

    def check(findings: Findings) -> dict[str, Any]:
        return check_segmentation(data, findings, data["size"], published)

    command = "python tools/train.py seg_configs/upernet.py --encoder random"
    remarks = "The classes are those of docs/overlays/camvid.py."
    return Plan(check, data, command, overlay=True, remarks=remarks, done=done)


def ade20k(place: Place, options: dict[str, Any]) -> Plan:
    """ADE20K's scene parsing release, ADEChallengeData2016."""
    published, origin = ADE20K
    try:
        _, done = link_trees(place, LAYOUTS[:1], {"splits": ["training", "validation", "validation"]}, *LINKS)
    except UserError as error:
        raise UserError(f"{error}; the data come from {origin}") from None
    command = "python tools/train.py seg_configs/upernet_mae.py --scale paper --amp"
    plan = paper_plan(place, "seg_configs/_base_/scale_paper.py", command, done)
    plan.check = lambda findings: check_segmentation(plan.data, findings, plan.data["size"], published)
    return plan


def class_names(path: str) -> list[str]:
    """Names from a text file, one a line.

    Raises:
        UserError: no such file, an empty one, or a name given twice.
    """
    try:
        names = [line.strip() for line in Path(path).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--classes {path} cannot be read ({error}): give a text file with one name a line") from None
    if not names or len(set(names)) < len(names):
        raise UserError(f"--classes {path}: {'no name' if not names else 'a name stands there twice'}; one name a line")
    return names


def present(plane: np.ndarray) -> np.ndarray:
    """The distinct values of a label map, ascending; by counting where possible, much faster than sorting."""
    if plane.dtype in (np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(plane.ravel()))
    return np.unique(plane)


class PairLook(NamedTuple):
    """One pair: its image, the ids in its label map, and what is wrong as (what, sentence)."""

    image: Look | None
    ids: np.ndarray
    faults: list[tuple[str, str]]


def look_at_pair(pair: tuple[str, str]) -> PairLook:
    """Decode an image and its label map."""
    image, label = pair
    faults, look, ids = [], None, np.zeros(0, np.int64)
    try:
        look = look_at_image(image)
    except UserError as error:
        faults.append(("unreadable or truncated image", str(error)))
    try:
        plane = read_plane(label)
        ids = present(plane)
    except UserError as error:
        faults.append(("unreadable label map", str(error)))
    else:
        try:
            if look is not None:
                fit_to_image(plane, {"ori_shape": look.size, "img_path": image}, label)
        except UserError as error:
            faults.append(("label map of another size than its image", str(error)))
    return PairLook(look, ids, faults)


def check_segmentation(
    data: dict[str, Any], findings: Findings, size: Sequence[int] | None, published: dict[str, int] | None = None
) -> dict[str, Any]:
    """Check every pair of every split; returns the classes (inferred where None) and the size.

    Args:
        data: a data section of kind "seg". size: its size; None for one that suits a CPU.
        published: split -> number of images.
    """
    looks: dict[str, list[tuple[str, PairLook]]] = {}
    images: dict[str, list[tuple[str, Look]]] = {}
    splits = dict.fromkeys({**SPLITS, **data.get("splits", {})}.values())
    for split in splits:
        try:
            pairs, lonely = look_for_pairs(
                data["root"], data["images"].format(split=split), data["labels"].format(split=split),
                data.get("image_suffix"), data.get("label_suffix"),
            )  # fmt: skip
        except UserError as error:
            findings.problem("folder without pairs", str(error))
            continue
        for sentence in lonely:
            findings.problem("file without its partner", sentence)
        check_swapped(pairs, findings)
        looks[split] = [(label, look) for (_, label), look in
                        zip(pairs, each(look_at_pair, pairs, f"check {split}", "pair"), strict=True)]  # fmt: skip
        images[split] = [
            (path, look.image) for (path, _), (_, look) in zip(pairs, looks[split], strict=True) if look.image
        ]
        findings.count(split, "images with labels", len(pairs), (published or {}).get(split))
        findings.take_sample([path for pair in pairs for path in pair])
        for _, look in looks[split]:
            for fault in look.faults:
                findings.problem(*fault)
    sizes = [look.size for split in images.values() for _, look in split]
    if not sizes:
        return {}
    findings.lines.append(("sizes", sizes_text(sizes)))
    train = next(iter(splits))
    compare_splits(images, train, findings)
    classes = data.get("classes") or infer_classes(data, [look.ids for _, look in looks.get(train, [])], findings)
    if classes:
        check_ids(data, classes, looks, train, findings)
    return {"classes": tuple(classes), "size": tuple(size or trial_size(sizes))}


def check_swapped(pairs: Sequence[tuple[str, str]], findings: Findings) -> None:
    """Do the folders of images and of labels stand for each other?"""
    try:
        headers = [tuple(header_of(path) for path in pair) for pair in pairs[:SWAPPED]]
    except UserError:  # a file that the look at its pair names
        return
    if headers and all(shown.single and not drawn.single for shown, drawn in headers):
        findings.problem("images and labels swapped", f"{pairs[0][0]} has one number a pixel and {pairs[0][1]} has "
                         "colours: if they stand for each other, name the folders the other way round")  # fmt: skip


def infer_classes(data: dict[str, Any], ids: Sequence[np.ndarray], findings: Findings) -> list[str]:
    """Names "class 0", "class 1", ... up to the largest id of the training labels that is not ignored."""
    used = {int(i) for found in ids for i in found} - {IGNORED, *data["ignore"]}
    first = int(data.get("reduce_zero_label", False))
    count = max(used, default=-1) + 1 - first
    if count < 1:
        findings.problem("no class", f"the training labels hold no id from {first} on but ignored ones")
        return []
    if count == 1:
        also = (
            " and 255, which counts nowhere: write another id for it" if any(IGNORED in found for found in ids) else ""
        )
        findings.problem("one class is no task", f"the training labels hold the id {first} alone{also}")
        return []
    findings.note("class names unknown", f"{count} classes by the ids of the training labels; name them in the overlay "
                  "or with --classes FILE")  # fmt: skip
    return [f"class {k}" for k in range(count)]


def check_ids(
    data: dict[str, Any], classes: Sequence[str], looks: dict[str, list[tuple[str, PairLook]]], train: str,
    findings: Findings,
) -> None:  # fmt: skip
    """Every id declared? Which classes does no training label hold?"""
    try:
        ids = LabelIds.build(len(classes), data.get("ignore", ()), data.get("reduce_zero_label", False))
    except UserError as error:
        findings.problem("classes that cannot be", str(error))
        return
    findings.lines.append(("labels", f"{len(classes)} classes, ids {ids.allowed}"))
    seen: set[int] = set()
    for split, found in looks.items():
        for path, look in found:
            if not look.ids.size:
                continue
            try:
                mapped = ids.apply(look.ids, path)
            except UserError as error:
                findings.problem("label map with an id nobody declared", str(error))
                continue
            if (mapped == IGNORED).all():
                findings.note("label map of ignored pixels alone", path)
            if split == train:
                seen.update(mapped.tolist())
    absent = [name for k, name in enumerate(classes) if k not in seen]
    if absent and seen:
        findings.note("class that no training label holds", ", ".join(absent[:8]) + (", ..." if absent[8:] else ""))
