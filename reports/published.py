"""A few published numbers to read beside ours, from `reference/published.csv`. They are never mixed with records."""

import csv
from pathlib import Path

from reports.tables import Cell, Table

SOURCE = Path(__file__).parent / "reference" / "published.csv"
NOTE = (
    "Paper-reported, never mixed with ours: other data, encoders, budgets and recipes. Papers differ from each "
    "other too, so compare within one paper only."
)
BACKBONES = ("ViT-B", "ViT-B/16")
COLUMNS = (
    ("ADE20K", "UperNet", "mIoU", "ADE20K mIoU, UperNet (%) ↑"),
    ("COCO", None, "AP_box", "COCO box AP (%) ↑"),
    ("COCO", None, "AP_mask", "COCO mask AP (%) ↑"),
)
ABSOLUTE = {  # paper -> methods, as the file spells them
    "MaskCLIP-2208.12262": ("CLIP", "MaskCLIP"),
    "DetailCLIP-2409.06809": ("CLIP", "MaskCLIP", "MAE"),
    "CAE-2202.03026": ("MAE", "CAE (released code)"),
}
DIFFERENCES = {
    "Apple-2405.08911": ("CLIP vs MAE", "MAE minus CLIP", "CLIP DataCompDR minus MAE", "CLIP DataCompDR vs MAE")
}


def published_tables(source: Path = SOURCE) -> list[Table]:
    """Dense results of MaskCLIP, CLIP, MAE and CAE as papers print them, then differences stated without values."""
    with open(source, newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["backbone"] in BACKBONES]
    return [_absolute(rows), _differences(rows)]


def _absolute(rows: list[dict[str, str]]) -> Table:
    header = ["Paper", "Method", "Pretraining", *(label for *_, label in COLUMNS), "Provenance"]
    lines: dict[tuple[str, str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        for dataset, head, metric, label in COLUMNS:
            if (
                (row["dataset"], row["metric"]) == (dataset, metric)
                and head in (None, row["head"])
                and row["table"] in ("main", "README")
                and row["method"] in ABSOLUTE.get(row["paper"], ())
            ):
                lines.setdefault((row["paper"], row["method"], _pretraining(row)), {})[label] = row
    body = []
    for key, values in lines.items():
        provenance = dict.fromkeys(row["provenance"] for row in values.values())
        body.append(
            [
                *map(Cell, key),
                *(
                    Cell(values[label]["value"]) if label in values else Cell("not given", "", "missing")
                    for *_, label in COLUMNS
                ),
                Cell("; ".join(provenance)),
            ]
        )
    notes = [
        "Provenance: where the number was read; 'derived' is computed from a stated difference, 'summary' and "
        "'note' are secondary sources. DetailCLIP's rows are its own re-evaluations or transcriptions."
    ]
    return Table("Values", header, body, [""] * len(body), notes, text_columns=len(header))


def _differences(rows: list[dict[str, str]]) -> Table:
    header = ["Paper", "Comparison", "Pretraining", "Data set, head", "Quantity", "Value", "Provenance"]
    body = [
        [
            Cell(text)
            for text in (
                row["paper"],
                row["method"],
                _pretraining(row),
                f"{row['dataset']}, {row['head']}",
                row["metric"].replace("_percent", " (%)").replace("_", " "),
                row["value"],
                row["provenance"],
            )
        ]
        for row in rows
        if row["method"] in DIFFERENCES.get(row["paper"], ())
    ]
    return Table("Differences stated without both values", header, body, [""] * len(body), text_columns=len(header))


def _pretraining(row: dict[str, str]) -> str:
    return ", ".join(filter(None, (row["backbone"], row["pretrain_data"], row["pretrain_epochs_or_samples"])))
