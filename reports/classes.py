"""What stands behind a mean over classes: a table of each class, and which classes are taken for which."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from reports.records import Record
from reports.rows import Row
from reports.sections import TASK_NAMES, Section
from reports.svg import STYLE, Chart, inline
from reports.tables import Cell, Table, row_label

MEASURES = {"IoU": "IoU (%) ↑", "box_AP": "box AP (%) ↑", "mask_AP": "mask AP (%) ↑"}
MOST_LABELS = 40  # classes whose names fit beside a picture of the matrix


def class_tables(section: Section) -> list[Table]:
    """A table for each task and measure whose records say it: classes by encoders, means over seeds."""
    tables = []
    for task in (name for name in TASK_NAMES if name in section.protocols):
        told = {row: found for row in section.rows if (found := _told(section, row, task))}
        if not told:
            continue
        classes = next(iter(told.values()))[0]["details"]["classes"]
        told = {row: found for row, found in told.items() if found[0]["details"]["classes"] == classes}
        for measure, label in MEASURES.items():
            if columns := {row: _means(found, measure, len(classes)) for row, found in told.items()
                           if all(measure in r["details"]["per_class"] for r in found)}:  # fmt: skip
                rows = [
                    [Cell(name), *(_cell(values[k]) for values in columns.values())] for k, name in enumerate(classes)
                ]
                tables.append(Table(f"{TASK_NAMES[task]}: {label} of each class",
                                    ["Class", *map(row_label, columns)], rows, [""] * len(rows)))  # fmt: skip
    return tables


def finer_tables(section: Section) -> list[Table]:
    """COCO's average precisions at one overlap and by size of object, a table for each detector."""
    tables = []
    for task in (name for name in TASK_NAMES if name in section.protocols):
        found = {row: [r for r in section.of(row, task) if r["status"] == "ok"] for row in section.rows}
        names = [f"{kind}_AP{part}" for kind in ("box", "mask") for part in ("50", "75", "_small", "_medium", "_large")]
        names = [name for name in names if any(name in r["metrics"] for records in found.values() for r in records)]
        if not names:
            continue
        rows = []
        for row, records in found.items():
            values = {name: [r["metrics"][name]["value"] for r in records if name in r["metrics"]] for name in names}
            rows.append([Cell(row_label(row)), *(_cell(float(np.mean(v)) if v else None) for v in values.values())])
        header = ["Encoder", *(f"{name.replace('_', ' ')} (%) ↑" for name in names)]
        notes = ["Small: below 32 x 32 pixels, large: from 96 x 96 on. Means over seeds."]
        tables.append(Table(f"{TASK_NAMES[task]}: average precision by overlap and size", header, rows,
                            [""] * len(rows), notes))  # fmt: skip
    return tables


def confusions(section: Section, prefix: str) -> list[Chart]:
    """A picture of the confusion matrix of each task, of the encoder with the best mean, its first seed."""
    charts = []
    for column in section.primary:
        told = {row: found[0] for row in section.competitors or section.rows
                if (found := _told(section, row, column.task)) and "confusion" in found[0]["details"]}  # fmt: skip
        means = {row: found.mean for row in told if (found := section.summary(row, column))}
        if means:
            best = (max if column.direction == "up" else min)(means, key=means.__getitem__)
            charts.append(_picture(section, best, column.task, told[best], f"{prefix}-{column.task}-confusion"))
    return charts


def _told(section: Section, row: Row, task: str) -> list[Record]:
    return [r for r in section.of(row, task) if r["status"] == "ok" and "details" in r.data]


def _means(records: list[Record], measure: str, classes: int) -> list[float | None]:
    """The mean over seeds of each class; None where no seed has a value."""
    found = []
    for k in range(classes):
        values = [r["details"]["per_class"][measure][k] for r in records]
        known = [value for value in values if value is not None]
        found.append(float(np.mean(known)) if known else None)
    return found


def _cell(value: float | None) -> Cell:
    return Cell("–", "none", "missing") if value is None else Cell(f"{value:.1f}")


def _picture(section: Section, row: Row, task: str, record: Record, prefix: str) -> Chart:
    """Rows: true classes, each in shares of its pixels; columns: what they were predicted as."""
    classes, rows = record["details"]["classes"], record["details"]["confusion"]
    matrix = np.zeros((len(classes), len(classes)))
    for k, counts in enumerate(rows):
        total = counts["right"] + counts["others"] + sum(pixels for _, pixels in counts["wrong"])
        for j, pixels in [(k, counts["right"]), *counts["wrong"]]:
            matrix[k, j] = pixels / max(1, total)
    side = min(7.5, 2.2 + 0.24 * len(classes))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(side, side))
        axes = figure.add_axes((0.3, 0.04, 0.68, 0.68))
        axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.xaxis.tick_top()
        if len(classes) <= MOST_LABELS:
            names = [name if len(name) <= 16 else f"{name[:15]}…" for name in classes]
            axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=7)
            axes.set_yticks(range(len(classes)), names, fontsize=7)
        axes.set_xlabel("predicted", fontsize=8)
        axes.set_ylabel("true", fontsize=8)
        axes.tick_params(length=0)
        svg = inline(figure, prefix)
    worst = [(matrix[k, j], classes[k], classes[j]) for k in range(len(classes)) for j in range(len(classes)) if k != j]
    shown = sorted(worst, key=lambda item: (-item[0], item[1:]))[:3]
    words = "; ".join(f"{100 * share:.0f} % of {true} taken for {taken}" for share, true, taken in shown if share)
    title = f"{TASK_NAMES[task]}: what is taken for what, {section.name(row)}, seed {record['seed']}"
    return Chart(title, svg, f"{title}. {words or 'nothing is confused'}.")
