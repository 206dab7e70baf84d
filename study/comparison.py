"""What a comparison ends in: a table of each data set for the terminal, and a report of each."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from engine.catalogue import TASK, Metric
from engine.provenance import REPOSITORY
from engine.run_path import RUNS
from reports.markdown import aligned
from reports.own import traits
from reports.records import Record, read_record
from reports.stats import paired, summarise
from reports.tables import Cell as Entry
from reports.tables import Table, difference_cell, number, spread
from study.cells import Cell

ABOUT = ("Encoder", "architecture", "parameters", "FLOPs", "input", "images/s")


def write_reports(cells: list[Cell]) -> list[Path]:
    """Write the report of each place of the cells' runs, as `python -m reports` does; returns the pages."""
    pages = []
    for place in dict.fromkeys(cell.place for cell in cells if cell.task != "pretrain"):
        out = Path("report", place)
        command = [sys.executable, "-m", "reports", str((RUNS / place).absolute()), "--out", str(out.absolute())]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        if done.returncode:
            print(f"no report of {RUNS / place}: {done.stderr.strip()}", file=sys.stderr)
        else:
            pages.append(out / "index.html")
    return pages


def tables(cells: list[Cell]) -> str:
    """A table of each data set: encoders by tasks, means with intervals, and paired differences.

    Args:
        cells: of a study; those that have not finished are left out.
    """
    records: dict[tuple, dict[tuple, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        if cell.task != "pretrain" and not cell.point and cell.status() == "ok":
            record = read_record(cell.outcome)
            place = (record["dataset"], tuple(record["settings"]["input_size"] or ()))
            records[place][row_of(cell, record)].append(record)
    return "\n\n".join(table(*place, references_first(rows)) for place, rows in records.items())


def references_first(rows: dict[tuple, list[Record]]) -> dict[tuple, list[Record]]:
    """The rows with what needs no encoder first, random weights next, then the encoders as they were named."""
    ranks = {key: 0 if found[0]["checkpoint"] is None else 2 - (found[0]["reference_kind"] == "floor")
             for key, found in rows.items()}  # fmt: skip
    return {key: rows[key] for key in sorted(rows, key=ranks.__getitem__)}


def row_of(cell: Cell, record: Record) -> tuple[str, str]:
    """What tells a row from the others: the encoder's part of the folder and its name. Options are of the whole
    comparison, and only of tasks that train, so they are no part of it."""
    return cell.method, record["name"]


def table(dataset: str, size: tuple[int, ...], rows: dict[tuple, list[Record]]) -> str:
    """The table of one data set and image size."""
    tasks = [task for task in TASK if any(record["task"] == task for found in rows.values() for record in found)]
    header, body = list(ABOUT), [[Entry(name), *about(found, tasks[0])] for (_, name), found in rows.items()]
    for task in tasks:
        metric = TASK[task].metrics[0]
        values = {key: {r["seed"]: r["metrics"][metric.name]["value"] for r in found if r["task"] == task}
                  for key, found in rows.items()}  # fmt: skip
        best = winner({key: of for key, of in values.items() if rows[key][0]["reference_kind"] is None}, metric)
        header += [f"{metric.label} {'↑' if metric.direction == 'up' else '↓'}", "− random", "− best"]
        for line, (key, of) in zip(body, values.items(), strict=True):
            floor = next((other for other in rows if is_floor_of(rows[other][0], rows[key][0])), None)
            line += [mean(of, metric), difference(of, values.get(floor), metric),
                     difference(of, values.get(best), metric)]  # fmt: skip
    pixels = " x ".join(map(str, size)) if size else "each encoder's own size"
    notes = (
        f"{dataset}, {pixels} pixels. Mean over n seeds ± half-width of the 95 % Student interval. Differences are\n"
        "paired over common seeds: − random to random weights of the same architecture, − best to the best encoder;\n"
        f"parameters are the whole model's of {tasks[0]}, FLOPs the encoder's for one image, images/s its training's."
    )
    return "\n".join([*aligned(Table("", header, body, [""] * len(body))), "", notes])


def about(records: list[Record], task: str) -> list[Entry]:
    """`reports.own.traits` on one line; nothing for what needs no encoder."""
    if records[0]["checkpoint"] is None:
        return [Entry("–")] * (len(ABOUT) - 1)
    return [Entry(cell.text) for cell in traits(records, task)]


def is_floor_of(floor: Record, record: Record) -> bool:
    """Whether a record is one of random weights of another's architecture."""
    if floor["method"] != "random" or record["method"] == "random" or record["checkpoint"] is None:
        return False
    return floor["checkpoint"]["encoder"] == record["checkpoint"]["encoder"]


def winner(values: dict[Any, dict[int, float]], metric: Metric) -> Any:
    """The row with the best mean; None where no row has a value."""
    means = {key: float(np.mean([*of.values()])) for key, of in values.items() if of}
    choose = max if metric.direction == "up" else min
    return choose(means, key=means.__getitem__) if means else None


def mean(values: dict[int, float], metric: Metric) -> Entry:
    """A mean with its interval and n."""
    if not values:
        return Entry("missing")
    found = summarise(values.values())
    return Entry(number(found.mean, metric.unit or ""), spread(found, metric.unit or ""))


def difference(first: dict[int, float], second: dict[int, float] | None, metric: Metric) -> Entry:
    """First minus second, paired over common seeds; "–" where there is nothing to compare."""
    found = None if not second or first is second else paired(first, second, metric.direction)
    return difference_cell(found, metric.unit or "") if found else Entry("–")
