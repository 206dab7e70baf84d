"""Checks of images with depth maps for `tools/prepare.py`: a user's own folders, and what NYUv2 shares with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.depth import LoadDepth
from datasets.parallel import each
from datasets.prepare.findings import Findings
from datasets.prepare.images import Look, look_at_image, sizes_text, trial_size
from datasets.prepare.job import Plan
from datasets.prepare.layouts import link_trees
from datasets.prepare.place import Place
from datasets.prepare.twins import compare_splits
from datasets.sections import SPLITS
from datasets.segmentation import look_for_pairs
from engine.errors import UserError

LINKS = ("images/{split}", "depth/{split}")
LAYOUTS = (
    LINKS, ("images/{split}", "depths/{split}"), ("rgb/{split}", "depth/{split}"), ("{split}/images", "{split}/depth"),
    ("{split}/image", "{split}/depth"), ("{split}/rgb", "{split}/depth"), ("{split}/images", "{split}/depths"),
)  # fmt: skip
NEAREST, FARTHEST = 0.2, 200.0  # metres between which half of a photograph's depths lie, indoors or in streets
FAR = 0.01  # share of measured pixels beyond `max_depth` from which it is mentioned


def depth_folder(place: Place, options: dict[str, Any]) -> Plan:
    """A user's own images with 16-bit depth maps."""
    splits, done = link_trees(place, LAYOUTS, options, *LINKS)
    data = {
        "name": place.name, "kind": "depth", "root": str(place.out), "images": LINKS[0], "labels": LINKS[1],
        "splits": splits, "depth_scale": options["depth_scale"], "max_depth": options["max_depth"],
    }  # fmt: skip
    data |= {key: options[key] for key in ("image_suffix", "label_suffix") if options.get(key)}

    def check(findings: Findings) -> dict[str, Any]:
        sizes = check_depth(data, findings, force=options["force"])
        return {"size": tuple(options.get("size") or trial_size(sizes))} if sizes else {}

    command = "python tools/train.py depth/configs/depth.py --encoder random"
    remarks = "`size` suits first trials on a CPU. NYUv2's Eigen crop is for maps of 480 x 640 and is not used here."
    return Plan(check, data, command, overlay=True, remarks=remarks, done=done)


class DepthLook(NamedTuple):
    """One pair: its image; share of pixels measured, share of these beyond max_depth, and nearest,
    middle and farthest depth in metres; and what is wrong as (what, sentence)."""

    image: Look | None
    numbers: tuple[float, float, float, float, float] | None
    faults: list[tuple[str, str]]


def look_at_depth(image: str, depth: str, scale: float, max_depth: float) -> DepthLook:
    """Decode an image and its depth map, as training does."""
    try:
        look = look_at_image(image)
    except UserError as error:
        return DepthLook(None, None, [("unreadable or truncated image", str(error))])
    results = {"img_path": image, "depth_map_path": depth, "ori_shape": look.size, "depth_scale": scale,
               "max_depth": max_depth, "seg_fields": []}  # fmt: skip
    try:
        metres = LoadDepth().transform(results)["gt_depth_map"]
    except UserError as error:
        return DepthLook(look, None, [("depth map that cannot be used", str(error))])
    measured = metres[metres > 0]
    numbers = (measured.size / metres.size, float((measured > max_depth).mean()), float(measured.min()),
               float(np.median(measured)), float(measured.max()))  # fmt: skip
    return DepthLook(look, numbers, [])


def check_depth(
    data: dict[str, Any],
    findings: Findings,
    published: dict[str, int] | None = None,
    hints: dict[str, str] | None = None,
    force: bool = False,
) -> list[tuple[int, int]]:
    """Check every pair of every split; returns the images' sizes (height, width).

    Args:
        data: a data section of kind "depth".
        published: split -> number of pairs; hints: split -> what may explain another number.
        force: whether distances that no camera sees are accepted.
    """
    looks: list[DepthLook] = []
    images: dict[str, list[tuple[str, Look]]] = {}
    splits = list(dict.fromkeys({**SPLITS, **data.get("splits", {})}.values()))
    for split in splits:
        folders = [data[key].format(split=split) for key in ("images", "labels")]
        try:
            pairs, lonely = look_for_pairs(data["root"], *folders, data.get("image_suffix"), data.get("label_suffix"))
        except UserError as error:
            findings.problem("folder without pairs", str(error))
            continue
        for sentence in lonely:
            findings.problem("file without its partner", sentence)
        found = list(each(lambda pair: look_at_depth(*pair, data["depth_scale"], data["max_depth"]), pairs,
                          f"check {split}", "pair"))  # fmt: skip
        findings.count(
            split, "images with depth", len(pairs), (published or {}).get(split), (hints or {}).get(split, "")
        )
        findings.take_sample([path for pair in pairs for path in pair])
        for look in found:
            for fault in look.faults:
                findings.problem(*fault)
        looks += found
        images[split] = [(pair[0], look.image) for pair, look in zip(pairs, found, strict=True) if look.image]
    sizes = [look.image.size for look in looks if look.image]
    if sizes:
        findings.lines.append(("sizes", sizes_text(sizes)))
    compare_splits(images, splits[0], findings)
    summarise([look.numbers for look in looks if look.numbers], data, findings, force)
    return sizes


def summarise(
    numbers: Sequence[tuple[float, ...]], data: dict[str, Any], findings: Findings, force: bool = False
) -> None:
    """What distances the maps hold: a wrong scale shows here."""
    if not numbers:
        return
    share, beyond, near, middle, far = np.array(numbers).T  # [n] each
    findings.lines.append((
        "depth", f"{near.min():.3g} to {far.max():.3g} m, half below {np.median(middle):.3g} m; {share.mean():.0%} of "
        f"the pixels measured; {data['depth_scale']:g} units per metre",
    ))  # fmt: skip
    if not NEAREST < np.median(middle) < FARTHEST:
        half = f"half of the depths lie below {np.median(middle):.3g} m at {data['depth_scale']:g} units per metre"
        what = findings.note if force else findings.problem
        what("distances that no camera sees", f"{half}: correct --depth-scale, or accept them with --force")
    if beyond.mean() > FAR:
        findings.note("depth beyond max_depth", f"{beyond.mean():.0%} of the measured pixels are farther than "
                      f"{data['max_depth']:g} m and are not learned from; --max-depth sets it")  # fmt: skip


def hint_of_lists(folder: Path) -> str:
    """Where the lists of NYUv2's pairs come from."""
    return (
        f"train_list.txt and test_list.txt name the published pairs: they are in code/dataset/filenames/nyudepthv2 of "
        f"the repository vinvino02/GLPDepth; put them into {folder} or name their folder with --lists"
    )
