"""Bar charts with intervals, one per metric, as inline SVG that follows the page's light and dark colours."""

import textwrap

import matplotlib
from matplotlib.figure import Figure

from reports.rows import Row
from reports.sections import Column, Section
from reports.svg import GRID, INK, STYLE, Chart, inline, style
from reports.tables import header, number

LABEL_WIDTH = 19  # characters of a method name on one line


def charts(section: Section, prefix: str) -> list[Chart]:
    """One bar chart per column that holds a value; `prefix` keeps element ids apart on one page."""
    drawn = [column for column in section.columns if any(section.values(row, column) for row in section.rows)]
    return [_chart(section, column, f"{prefix}-{column.task}-{column.name}") for column in drawn]


def _chart(section: Section, column: Column, prefix: str) -> Chart:
    ceiling = section.reference("ceiling")
    rows = [row for row in section.rows if row is not ceiling and section.values(row, column)]
    unit = section.unit(column)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.3, (0.25 if len(rows) > 10 else 0.29) * len(rows) + 0.75))
        axes = figure.add_axes((0.3, 0.3 / figure.get_figheight(), 0.44, 1 - 0.62 / figure.get_figheight()))
        words = _bars(axes, rows, section, column, unit)
        top = section.summary(ceiling, column) if ceiling else None
        if top:
            axes.axvline(top.mean, color=INK, linewidth=1, linestyle=(0, (4, 2)))
            axes.annotate(
                f"{ceiling.name} {number(top.mean, unit)}",
                (top.mean, 1),
                (0, 3),
                va="bottom",
                ha="center",
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                fontsize=8,
            )
            words.append(f"{ceiling.name} (ceiling) {number(top.mean, unit)}")
        axes.set_yticks(
            range(len(rows)),
            ["\n".join(textwrap.wrap(section.name(row), LABEL_WIDTH)) for row in rows],
            fontsize=8,
            linespacing=1,
        )
        axes.set_ylim(len(rows) - 0.45, -0.55)
        low, high = axes.dataLim.intervalx
        axes.set_xlim(min(0, low), 1.06 * max(high, 1e-9))
        axes.tick_params(length=0)
        axes.xaxis.grid(True, color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right", "bottom"):
            axes.spines[side].set_visible(False)
        svg = inline(figure, prefix)
    title = header(section, column)
    return Chart(title, svg, f"{title}: {'; '.join(words)}.")


def _bars(axes: matplotlib.axes.Axes, rows: list[Row], section: Section, column: Column, unit: str) -> list[str]:
    """Draw a bar for each row with its interval, its seeds as dots and its value; return the same in words.

    All bars are one call of matplotlib, and so are all intervals and all dots: a call for each takes far longer.
    """
    found = [section.summary(row, column) for row in rows]
    axes.barh(range(len(rows)), [s.mean for s in found], height=0.62, color=[colour for colour, *_ in style(rows)])
    spread = [k for k, s in enumerate(found) if s.half is not None]
    axes.errorbar(
        [found[k].mean for k in spread],
        spread,
        xerr=[found[k].half for k in spread],
        color=INK,
        linewidth=1.1,
        capsize=3,
        linestyle="none",
    )
    dots = [(value, k + 0.2) for k, row in enumerate(rows) for value in section.values(row, column).values()]
    axes.plot(*zip(*dots, strict=True), "o", color=INK, markersize=2.2, linestyle="none")
    words = []
    for k, (row, s) in enumerate(zip(rows, found, strict=True)):
        text = number(s.mean, unit) + (f" ± {number(s.half, unit)}" if s.half is not None else " (n=1)")
        axes.annotate(text, (1.04, k), va="center", fontsize=8, xycoords=("axes fraction", "data"))
        words.append(f"{section.name(row)} {text}")
    return words
