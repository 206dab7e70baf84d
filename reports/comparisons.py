"""Declared comparisons: which pairs of methods answer which question, beside the differences that papers print.

Ours are paired differences over common seeds. Published rows stand below them, marked, and enter no computation: they
come from other data, encoders, budgets and recipes.
"""

import csv
import functools
import itertools
from dataclasses import dataclass

from engine.catalogue import CLIP_KIN
from reports.published import SOURCE
from reports.rows import VARIANT
from reports.sections import Column, Section
from reports.tables import Cell, Table, number, pair_cells, pair_header

LIGHT = ("", "_resnet18", "_mobilenetv2", "_swin_nano")


@dataclass(frozen=True)
class Published:
    """Two methods of one paper as published.csv spells them; without `second`, `first` names a printed difference.

    `sign` -1 turns a difference round. `backbone` and `pretraining` (data, or epochs) choose among the paper's rows.
    """

    label: str
    paper: str
    first: str
    second: str | None = None
    backbone: str = "ViT-B/16"
    pretraining: tuple[str, str] = ("", "")
    sign: int = 1


@dataclass(frozen=True)
class Comparison:
    """A question, the pairs of method ids (first minus second) that answer it, and what papers say."""

    title: str
    pairs: tuple[tuple[str, str], ...]
    published: tuple[Published, ...] = ()


COMPARISONS = (
    Comparison("CLIP and its relatives against MAE and CAE",
               tuple((first, second) for second in ("mae", "cae") for first in CLIP_KIN), (
                   Published("CLIP on DataComp(DR) − MAE", "Apple-2405.08911", "MAE minus CLIP",
                             sign=-1),
                   Published("CLIP DataCompDR − MAE", "Apple-2405.08911", "CLIP DataCompDR minus MAE"),
                   Published("CLIP − MAE", "DetailCLIP-2409.06809", "CLIP", "MAE"),
                   Published("MaskCLIP − MAE", "DetailCLIP-2409.06809", "MaskCLIP", "MAE"),
               )),
    Comparison("MaskCLIP against CLIP", (("maskclip", "clip"),), (
        Published("MaskCLIP − CLIP", "MaskCLIP-2208.12262", "MaskCLIP", "CLIP"),
        Published("MaskCLIP − CLIP, re-evaluated", "DetailCLIP-2409.06809", "MaskCLIP", "CLIP"),
    )),
    Comparison("Further objectives beside CLIP", (("slip", "clip"), ("declip", "clip"), ("datacompdr", "clip")), (
        Published("SLIP − CLIP", "SLIP-2112.12750", "SLIP", "CLIP", pretraining=("", "25ep")),
        Published("DeCLIP − CLIP", "CLIP-benchmark-2203.05796", "DeCLIP", "CLIP", backbone="ViT-B/32"),
    )),
    Comparison("Caption quality", (
        ("clip_rewritten", "clip"), ("clip_enriched", "clip"), ("clip_mixed", "clip"), ("clip_aligned", "clip"),
        ("clip_mixed", "clip_enriched"), ("clip_aligned", "clip_enriched")), (
        Published("LaCLIP (rewritten) − CLIP", "LaCLIP-2305.20088", "LaCLIP", "CLIP", pretraining=("CC12M", "")),
        Published("VeCLIP (enriched and mixed) − CLIP", "VeCLIP-2310.07699", "VeCLIP", "CLIP", backbone="CLIP-B/16",
                  pretraining=("VeCap-12M", "")),
    )),
    Comparison("LightCLIP against CLIP", tuple((f"lightclip{light}", f"clip{light}") for light in LIGHT), tuple(
        Published("LightCLIP − CLIP", "LightCLIP-2312.00674", "LightCLIP minus CLIP", backbone=backbone)
        for backbone in ("ResNet18", "MobileNet-V2", "Swin-Nano"))),
    Comparison("Two stages against one", (("fd", "clip"), ("wsp", "mae"), ("fd", "mae"), ("wsp", "clip")), (
        Published("FD of CLIP − CLIP", "FD-2205.14141v3", "FD-CLIP", "CLIP", backbone="ViT-B"),
    )),
    Comparison("Masked images: CAE and BEiT against MAE", (("cae", "mae"), ("beit", "mae")), (
        Published("CAE − MAE", "CAE-2202.03026", "CAE (released code)", "MAE", backbone="ViT-B",
                  pretraining=("", "1600ep")),
    )),
)  # fmt: skip

# What a row of published.csv measures: (task, data set, metric, words with which its head begins) -> ours
MEASURES = {
    ("det", "COCO", "AP_box", ("Mask R-CNN", "not stated")): ("mask_rcnn", "box_AP"),
    ("inst-seg", "COCO", "AP_mask", ("Mask R-CNN", "not stated")): ("mask_rcnn", "mask_AP"),
    ("semseg", "ADE20K", "mIoU", ("UperNet",)): ("upernet", "mIoU"),
    ("semseg", "ADE20K", "mIoU", ("SemanticFPN",)): ("semantic_fpn", "mIoU"),
    ("zero-shot-cls", "ImageNet-1K", "top1", ("none",)): ("zero_shot", "top1"),
    ("zero-shot-retrieval", "Flickr30K", "I2T_R@1", ("none",)): ("retrieval", "image_to_text_R1"),
    ("zero-shot-retrieval", "Flickr30K", "T2I_R@1", ("none",)): ("retrieval", "text_to_image_R1"),
    ("linear-probe", "ImageNet-1K", "top1", ("",)): ("linear_probe", "top1"),
    ("attentive-probe", "ImageNet-1K", "top1", ("",)): ("attentive_probe", "top1"),
    ("knn", "ImageNet-1K", "top1", ("",)): ("knn", "top1"),
    ("finetune-cls", "ImageNet-1K", "top1", ("linear",)): ("finetune", "top1"),
}  # fmt: skip


def comparison_tables(section: Section) -> list[Table]:
    """A table for each declared comparison of which the section has a pair, then the ablations."""
    declared = [*COMPARISONS, Comparison("Ablations", _ablations(section))]
    return [table for comparison in declared if (table := comparison_table(section, comparison))]


def comparison_table(section: Section, comparison: Comparison) -> Table | None:
    """Ours by pair, then what papers print for the section's columns; None where the section has no pair."""
    pairs = [pair for ids in comparison.pairs for pair in itertools.product(*map(section.rows_of, ids))]
    if not pairs:
        return None
    rows = [
        [Cell(f"{section.name(first)} − {section.name(second)}"), *pair_cells(section, first, second)]
        for first, second in pairs
    ]
    printed = [line for entry in comparison.published if (line := _printed(section, entry))]
    notes = [
        "First minus second, paired over common seeds, with the 95 % Student interval, not corrected for the "
        "number of comparisons. Better and worse only where it leaves out zero, else ≈ 0."
    ]
    if printed:
        notes.append(
            "Rows marked published are the papers' differences on the data set named, to read beside ours: "
            "other data, encoders and budgets. No interval is known, and they enter no computation."
        )
    kinds = [""] * len(rows) + ["published"] * len(printed)
    return Table(comparison.title, pair_header(section), rows + printed, kinds, notes)


def published_differences(entry: Published) -> dict[tuple[str, str], tuple[float, str]]:
    """{(our task, our metric): (difference, its data set)} that published.csv has for an entry."""
    first = _values(entry, entry.first, entry.second is None)
    if entry.second is None:
        return {key: (entry.sign * value, dataset) for key, (value, dataset) in first.items()}
    second = _values(entry, entry.second, False)
    return {key: (entry.sign * (first[key][0] - second[key][0]), first[key][1]) for key in first if key in second}


def _values(entry: Published, method: str, stated: bool) -> dict[tuple[str, str], tuple[float, str]]:
    """The paper's values of one method; of differences that are stated as such if `stated`."""
    found: dict[tuple[str, str], tuple[float, str]] = {}
    data, budget = entry.pretraining
    for row in _rows():
        chosen = (
            (row["paper"], row["method"], row["backbone"]) == (entry.paper, method, entry.backbone)
            and data in ("", row["pretrain_data"])
            and budget in ("", row["pretrain_epochs_or_samples"])
        )
        metric = row["metric"].removeprefix("delta_")
        if chosen and row["metric"].startswith("delta_") == stated:
            for (task, dataset, name, heads), ours in MEASURES.items():
                if (row["task"], row["dataset"], metric) == (task, dataset, name) and row["head"].startswith(heads):
                    found.setdefault(ours, (float(row["value"]), dataset))
    return found


@functools.cache
def _rows() -> list[dict[str, str]]:
    with open(SOURCE, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def _printed(section: Section, entry: Published) -> list[Cell] | None:
    """A published row; None where the paper has nothing for the section's columns."""
    known = published_differences(entry)
    if not any((column.task, column.name) in known for column in section.columns):
        return None

    def cell(column: Column) -> Cell:
        if (column.task, column.name) not in known:
            return Cell("–")
        value, dataset = known[column.task, column.name]
        return Cell(number(value, "%", signed=True), dataset)

    name, _, number_of = entry.paper.partition("-")
    where = ", ".join(filter(None, (f"{name} {number_of}", entry.backbone, *entry.pretraining)))
    return [Cell(f"published: {entry.label}", where), *map(cell, section.columns)]


def _ablations(section: Section) -> tuple[tuple[str, str], ...]:
    """Each variant of a method against the method itself: `mae-pixels` against `mae`."""
    return tuple((row.method, row.method.partition(VARIANT)[0]) for row in section.rows if VARIANT in row.method)
