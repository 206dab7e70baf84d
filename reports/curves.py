"""Training curves: the loss of each method over the iterations of one task, from `curve.jsonl` beside the records."""

import json
import math

import matplotlib
from matplotlib.figure import Figure

from reports.records import Record, Unused
from reports.sections import TASK_NAMES, Section
from reports.svg import GRID, STYLE, Chart, inline, style

FILE_NAME = "curve.jsonl"
MOST_POINTS = 120  # of one line; more would not be seen and make the page heavy


def training_curves(section: Section, prefix: str) -> tuple[list[Chart], list[Unused]]:
    """One chart per task with at least one curve, of the lowest seed that most rows share; and the unreadable files."""
    charts, unused = [], []
    for task in (name for name in TASK_NAMES if name in section.protocols):
        records = [r for row in section.rows for r in section.of(row, task) if r["status"] == "ok" and r.folder]
        records = [r for r in records if (r.folder / FILE_NAME).is_file()]
        seeds = [r["seed"] for r in records]
        lines = {}
        for row in section.rows:
            for record in section.of(row, task):
                if record in records and record["seed"] == min(set(seeds), key=lambda s: (-seeds.count(s), s)):
                    try:
                        lines[row] = read_curve(record)
                    except ValueError as error:
                        path = record.path.removesuffix("result.json") + FILE_NAME
                        unused.append(Unused(path, f"training curve not readable ({error})"))
        if lines:
            charts.append(_chart(section, task, lines, f"{prefix}-curve-{task}"))
    return charts, unused


def read_curve(record: Record) -> tuple[list[int], list[float]]:
    """Iterations and losses, thinned evenly. Raises ValueError for a file that is not a curve with finite losses."""
    iterations, losses = [], []
    with open(record.folder / FILE_NAME, encoding="utf-8") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                row = json.loads(line)
                iterations.append(int(row["iteration"]))
                losses.append(float(row["loss"]))
            except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
                raise ValueError(f"line {number} has no iteration and loss") from None
            if not math.isfinite(losses[-1]):
                raise ValueError(f"the loss in line {number} is not finite")
    if not losses:
        raise ValueError("it is empty")
    step = math.ceil(len(losses) / MOST_POINTS)
    return iterations[::step], losses[::step]


def _chart(section: Section, task: str, lines: dict, prefix: str) -> Chart:
    height = 2.5 + 0.17 * math.ceil(len(lines) / 2)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.3, height))
        axes = figure.add_axes((0.13, 1 - 2.05 / height, 0.84, 1.95 / height))
        looks = style(list(lines))
        for (colour, _, stroke), (row, (iterations, losses)) in zip(looks, lines.items(), strict=True):
            axes.plot(iterations, losses, color=colour, linewidth=1.3, linestyle=stroke, label=section.name(row))
        axes.set_xlabel("iteration")
        axes.grid(True, color=GRID, linewidth=0.6)
        axes.tick_params(length=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.legend(loc="lower left", ncols=2, fontsize=7, frameon=False, bbox_to_anchor=(0.02, 0))
        svg = inline(figure, prefix)
    title = f"Training loss, {TASK_NAMES[task]}"
    words = "; ".join(
        f"{section.name(row)} from {losses[0]:.3g} to {losses[-1]:.3g}" for row, (_, losses) in lines.items()
    )
    return Chart(title, svg, f"{title}: {words}.")
