"""Summaries across tasks: mean rank and z-score, agreement of rankings, and what a cheap probe says about dense tasks.

All rest on the means of competitors over seeds and on each task's primary metric. Ranks and z-scores point the same
way in every task: rank 1 and positive z are better.
"""

import numpy as np
from scipy.stats import kendalltau, rankdata

from engine.catalogue import DENSE, NEED_TEXT
from reports import foretell
from reports.foretell import FEWEST, signed
from reports.rows import Row
from reports.sections import Column, Section
from reports.stats import LEVEL
from reports.tables import Cell, Table, row_label


def summary_tables(section: Section) -> list[Table]:
    """Mean ranks, Kendall's tau between tasks, and how well probes predict; each only where there is enough for it."""
    scores = {column: _scores(section, column) for column in section.primary}
    scores = {column: found for column, found in scores.items() if len(found) >= FEWEST}
    tables = [_ranks(section, scores), _agreement(scores), foretell.table(section, scores)]
    return [table for table in tables if table]


def tau(first: dict[Row, float], second: dict[Row, float]) -> tuple[float, float, int] | None:
    """Kendall's tau-b, its two-sided p and the number of common methods; None with fewer than three or no order."""
    common = [row for row in first if row in second]
    if len(common) < FEWEST:
        return None
    result = kendalltau([first[row] for row in common], [second[row] for row in common])
    return None if np.isnan(result.statistic) else (float(result.statistic), float(result.pvalue), len(common))


def _scores(section: Section, column: Column) -> dict[Row, float]:
    """The mean of each competitor, negative where less is better, so that more is always better."""
    sign = 1 if column.direction == "up" else -1
    return {row: sign * found.mean for row in section.competitors if (found := section.summary(row, column))}


def _ranks(section: Section, scores: dict[Column, dict[Row, float]]) -> Table | None:
    """Rank in each task that every method could do, and mean rank and z-score over the dense ones.

    A probe of pooled features says something else than a dense task; it counts only where there are not two of these.
    What one run says of a method is not ranked.
    """
    chosen = {
        c: found
        for c, found in scores.items()
        if (c.task not in NEED_TEXT or len(found) == len(section.competitors))
        and all(section.summary(row, c).n > 1 for row in found)
    }
    if len(chosen) < 2:
        return None
    ranks = {c: dict(zip(found, rankdata([-v for v in found.values()]), strict=True)) for c, found in chosen.items()}
    deviations = {c: dict(zip(found, _standardised(list(found.values())), strict=True)) for c, found in chosen.items()}
    dense = [c for c in chosen if c.task in DENSE]
    counted = dense if len(dense) > 1 else list(chosen)
    lines = []
    for row in section.competitors:
        held = [c for c in counted if row in chosen[c]]
        if held:
            mean_rank = float(np.mean([ranks[c][row] for c in held]))
            mean_z = float(np.mean([deviations[c][row] for c in held]))
            part = f"{len(held)} of {len(counted)} tasks" if len(held) < len(counted) else ""
            cells = [Cell(f"{ranks[c][row]:g}") if row in chosen[c] else Cell("missing", "", "missing") for c in chosen]
            lines.append(
                (
                    bool(part),
                    mean_rank,
                    [
                        Cell(row_label(row)),
                        *cells,
                        Cell(f"{mean_rank:.2f}", part),
                        Cell(f"{mean_z:+.2f}".replace("-", "−"), part),
                    ],
                )
            )
    lines.sort(key=lambda line: line[:2])
    kinds = ["start" if k and lines[k][0] != lines[k - 1][0] else "" for k in range(len(lines))]
    header = ["Method", *(f"rank, {c.label}" for c in chosen), "mean rank", "mean z-score"]
    notes = [
        "Sorted by mean rank. Equal scores share a rank; z is the distance from the competitors' mean in their "
        "standard deviations, better upwards. Ranks rest on means alone: methods that the main table does not "
        "tell apart still get different ranks."
    ]
    if len(counted) < len(chosen):
        notes.append("Means are over the dense tasks; the ranks of the others stand beside them.")
    if any(part for part, *_ in lines):
        notes.append(
            "Methods below the line lack a task; their means rest on fewer and are not comparable with those above."
        )
    if len(chosen) < len(scores):
        notes.append("Tasks that need a text tower are left out, because not every method has one.")
    return Table("Ranks across tasks", header, [cells for *_, cells in lines], kinds, notes)


def _standardised(values: list[float]) -> np.ndarray:
    """(value - mean) / sample standard deviation; zeros where all are equal."""
    array = np.asarray(values)
    spread = array.std(ddof=1)
    return (array - array.mean()) / spread if spread > 0 else np.zeros_like(array)


def _agreement(scores: dict[Column, dict[Row, float]]) -> Table | None:
    """Kendall's tau between the rankings of every two tasks."""
    if len(scores) < 2:
        return None
    columns = list(scores)
    rows = [
        [
            Cell(first.label),
            *(_tau_cell(scores[first], scores[second]) if k > j else Cell("") for k, second in enumerate(columns) if k),
        ]
        for j, first in enumerate(columns[:-1])
    ]
    notes = [
        f"Tau-b over the methods that both tasks have (n): 1 the same order, −1 the reverse. A star: p below "
        f"{1 - LEVEL:.2g} against no association, not corrected for the number of pairs."
    ]
    return Table(
        "Do the tasks rank methods alike? Kendall's τ",
        ["Task", *(c.label for c in columns[1:])],
        rows,
        [""] * len(rows),
        notes,
    )


def _tau_cell(first: dict[Row, float], second: dict[Row, float]) -> Cell:
    found = tau(first, second)
    if found is None:
        return Cell("–", "too few methods", "missing")
    value, p, n = found
    return Cell(signed(value) + ("*" if p < 1 - LEVEL else ""), f"n={n}")
