"""Accuracy against cost: gain over the floor per hour of pretraining, and the encoders that nothing else dominates.

A front may hold encoders of several sizes, unlike every other table: cost is then the question. It has one scale, data
set, split and protocol. A point is on the front if no other is at least as good and at most as costly, and better in
one of the two.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from engine.catalogue import DENSE
from reports.costs import machine
from reports.records import Record
from reports.rows import Row
from reports.sections import Column, Section
from reports.svg import GRID, INK, STYLE, Chart, inline, style
from reports.tables import Cell, Table, header, number, row_kinds, row_label

HOUR = 3600
LETTER = 4.4  # points that a letter of a name in the chart is wide, on average


@dataclass(frozen=True)
class Point:
    """One encoder: its method's name, its cost, its score, and its size where the front has several."""

    name: str
    row: Row
    cost: float
    score: float
    size: str = ""

    @property
    def full(self) -> str:
        """The name with the size."""
        return f"{self.name}, {self.size}" if self.size else self.name


def front(points: Sequence[Point], direction: str) -> list[Point]:
    """The points that no other dominates, by rising cost."""
    sign = 1 if direction == "up" else -1

    def dominated(point: Point) -> bool:
        return any(
            other.cost <= point.cost
            and sign * other.score >= sign * point.score
            and (other.cost < point.cost or sign * other.score > sign * point.score)
            for other in points
        )

    return sorted((p for p in points if not dominated(p)), key=lambda p: (p.cost, p.name))


def pretraining_time(records: Iterable[Record]) -> float | None:
    """Seconds of pretraining with the stages before it, mean over seeds; None where a part was not recorded."""
    totals = []
    for record in {r["seed"]: r for r in records}.values():
        parts = [record["cost"]["pretrain_wall_s"], *(s["wall_s"] for s in record["budget"].get("earlier_stages", []))]
        if None in parts:
            return None
        totals.append(sum(parts))
    return float(np.mean(totals)) if totals else None


def gain_table(section: Section) -> Table | None:
    """Gain over the floor per hour of pretraining in each task; None without a floor or any time."""
    floor = section.reference("floor")
    times = {row: pretraining_time(_records(section, row)) for row in section.competitors}
    columns = [c for c in section.primary if floor and section.summary(floor, c)]
    if not columns or not any(times.values()):
        return None
    on_front = {c: {p.row for p in front(_points(section, c, times), c.direction)} for c in columns}
    rows = []
    for row in section.competitors:
        hours = (times[row] or 0) / HOUR
        cells = [Cell(row_label(row)), Cell(f"{hours:.3g}") if hours else Cell("not recorded", "", "missing")]
        for column in columns:
            found = section.summary(row, column)
            if found is None or not hours:
                cells.append(Cell("–"))
                continue
            gain = found.mean - section.summary(floor, column).mean
            cells.append(
                Cell(
                    number(gain / hours, section.unit(column), signed=True),
                    "on the front" if row in on_front[column] else "",
                )
            )
        rows.append(cells)
    notes = [
        f"Mean score minus that of {floor.name}, divided by the hours of pretraining, earlier stages included; in "
        "the metric's unit per hour of the hardware used. It favours short pretraining: read it beside the main "
        "table. On the front: no other method is as good in no more time."
    ]
    if _several_machines([section]):
        notes.append("The runs used different hardware: times are not comparable between all rows.")
    return Table(
        "Accuracy per cost of pretraining",
        ["Method", "hours", *(header(section, c) for c in columns)],
        rows,
        row_kinds(section.competitors),
        notes,
    )


def fronts(parts: Sequence[Section], latency: Mapping[str, Mapping[str, float]]) -> list[Chart]:
    """Pareto charts of the dense tasks against pretraining time, and against parameters, FLOPs and latency.

    Args:
        parts: every section; those of one scale, data set, split and protocol share a chart.
        latency: machine and settings in words -> checkpoint's sha256 -> milliseconds per image, from the analyses;
            each makes a chart of its own.
    """
    groups: dict[tuple, list[Section]] = defaultdict(list)
    for section in parts:
        for column in (c for c in section.primary if c.task in DENSE):
            key = (section.scale, section.dataset, section.split, section.protocols[column.task], column)
            groups[key].append(section)
    charts = []
    for (scale, dataset, split, _, column), members in groups.items():
        several = len({s.encoder for s in members}) > 1
        measures = [
            ("pretraining time", "h", _hours, True, _several_machines(members)),
            ("parameters of the whole model", "M", lambda rs: _mean(rs, "parameters", 1e6), several, ""),
            ("FLOPs of the encoder", "G", lambda rs: _mean(rs, "flops", 1e9), several, ""),
            *(("latency of the encoder", "ms", partial(_latency, known=known), True, f", {how}")
              for how, known in latency.items()),
        ]  # fmt: skip
        for name, unit, read, wanted, mark in measures:
            points = [p for section in members for p in _costed(section, column, read, several)] if wanted else []
            if len({p.cost for p in points}) > 1:
                title = f"{header(members[0], column)} against {name} ({unit}): {dataset}, {split}, scale {scale}{mark}"
                charts.append(_chart(points, column, members[0], title, f"{name} ({unit})", f"front{len(charts)}"))
    return charts


def _records(section: Section, row: Row) -> list[Record]:
    return [r for task in section.protocols for r in section.of(row, task)]


def _points(section: Section, column: Column, costs: Mapping[Row, float | None]) -> list[Point]:
    return [
        Point(section.name(row), row, cost, found.mean)
        for row, cost in costs.items()
        if cost and (found := section.summary(row, column))
    ]


def _costed(
    section: Section, column: Column, read: Callable[[list[Record]], float | None], several: bool
) -> list[Point]:
    costs = {row: read([r for r in section.of(row, column.task) if r["status"] == "ok"]) for row in section.competitors}
    points = _points(section, column, costs)
    size = section.encoder.partition("(")[0].removeprefix("plain ViT, ")
    return [replace(point, size=size) for point in points] if several else points


def _hours(records: list[Record]) -> float | None:
    seconds = pretraining_time(records)
    return None if seconds is None else seconds / HOUR


def _mean(records: list[Record], key: str, step: float) -> float | None:
    values = [r["cost"][key] for r in records if r["cost"][key] is not None]
    return float(np.mean(values)) / step if values else None


def _several_machines(members: Iterable[Section]) -> str:
    """The mark of a chart whose times come from several machines."""
    found = {machine(r["hardware"]) for section in members for r in section.records}
    return f", times of {len(found)} machines: not comparable" if len(found) > 1 else ""


def _latency(records: list[Record], known: Mapping[str, float]) -> float | None:
    found = [r["checkpoint"]["sha256"] for r in records if r["checkpoint"]]
    values = [known[sha] for sha in found if sha in known]
    return float(np.mean(values)) if values else None


def _chart(points: list[Point], column: Column, section: Section, title: str, label: str, prefix: str) -> Chart:
    best = front(points, column.direction)
    unit = section.unit(column)
    columns = 2 if max(len(p.full) for p in points) < 40 else 1
    height = 3.1 + 0.17 * math.ceil(len(points) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.3, height))
        axes = figure.add_axes((0.14, 1 - 2.55 / height, 0.82, 2.45 / height))
        axes.step(
            [p.cost for p in best], [p.score for p in best], where="post", color=INK, linewidth=1, linestyle=(0, (4, 2))
        )
        for point, (colour, marker, _) in zip(points, style([p.row for p in points]), strict=True):
            axes.plot(point.cost, point.score, marker, color=colour, markersize=6, linestyle="none", label=point.full)
        # Nothing is cheaper and better than a point of the front, so the corner before it is free for its name.
        upwards = column.direction == "up"
        axes.margins(0.12)
        left, right = axes.get_xlim()
        for point in best:
            share = min(0.5, (LETTER * len(point.name) + 9) / (72 * 4.3 * 0.82))  # of the axes' width
            left = min(left, (point.cost - share * right) / (1 - share))
            axes.annotate(
                point.name,
                (point.cost, point.score),
                (-5, 4 if upwards else -4),
                fontsize=7.5,
                ha="right",
                va="bottom" if upwards else "top",
                textcoords="offset points",
            )
        axes.set_xlim(left, right)
        axes.set_xlabel(label)
        axes.grid(True, color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.legend(
            loc="lower left", ncols=columns, fontsize=7, frameon=False, bbox_to_anchor=(0.02, 0), handletextpad=0.2
        )
        svg = inline(figure, prefix)
    words = "; ".join(
        f"{p.full} {p.cost:.3g} for {number(p.score, unit)}{', on the front' if p in best else ''}"
        for p in sorted(points, key=lambda p: (p.cost, p.full))
    )
    return Chart(title, svg, f"{title}: {words}.")
