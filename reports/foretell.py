"""How well each cheap test foretells each expensive task: Kendall's tau-b between their rankings of the competitors.

Its 95 % interval is a percentile bootstrap over methods and seeds: each resample draws as many methods as there are,
with replacement, and for each of the two tasks as many seeds of each method as it has. A method that is drawn twice
ties with itself in both tasks and says nothing; a resample without any order is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.catalogue import DENSE, TASK, TASKS
from reports.rows import Row
from reports.sections import Column, Section
from reports.stats import LEVEL
from reports.tables import Cell, Table, number

# Cheap beside fine-tuning a dense head.
PROBES = [task.id for task in sorted((t for t in TASKS if t.probe is not None), key=lambda t: t.probe)]
FEWEST = 3  # methods that a ranking needs
RESAMPLES, SEED = 2000, 0
BLOCK = 2**22  # pairs of methods of all resamples at a time


@dataclass(frozen=True)
class Foresight:
    """tau-b over n methods with its interval [low, high]."""

    tau: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{signed(self.tau)} [{signed(self.low)}, {signed(self.high)}]"


def foretell(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> Foresight | None:
    """Compare the rankings of two tasks; None with fewer than FEWEST methods, or where one task has no order.

    Args:
        first, second: the values of each method by seed, at least one; the two tasks may have different seeds.
    """
    methods = len(first)
    if methods < FEWEST:
        return None
    once = np.ones((1, methods))
    (tau,) = weighted_tau(*(np.array([[np.mean(values) for values in task]]) for task in (first, second)), once)
    if np.isnan(tau):
        return None
    generator = np.random.default_rng(SEED)
    weights = generator.multinomial(methods, [1 / methods] * methods, size=RESAMPLES)
    one, two = (drawn_means(task, generator) for task in (first, second))
    step = max(1, BLOCK // methods**2)
    blocks = (slice(start, start + step) for start in range(0, RESAMPLES, step))
    found = np.concatenate([weighted_tau(one[block], two[block], weights[block]) for block in blocks])
    low, high = np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Foresight(float(tau), float(low), float(high), methods)


def drawn_means(task: Sequence[Sequence[float]], generator: np.random.Generator) -> np.ndarray:
    """The mean of each method over seeds drawn with replacement, [RESAMPLES, methods]."""
    drawn = (np.asarray(values)[generator.integers(len(values), size=(RESAMPLES, len(values)))] for values in task)
    return np.stack([values.mean(axis=1) for values in drawn], axis=1)


def weighted_tau(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """tau-b in each of R samples, [R]; NaN where all methods that count tie in one of the tasks.

    Args:
        first, second: [R, M], the score of each method. weights: [R, M], how often it counts.
    """
    pairs = weights[:, :, None] * weights[:, None, :]  # [R, M, M], every pair twice
    one, two = (np.sign(scores[:, :, None] - scores[:, None, :]) for scores in (first, second))
    agree, untied, other = ((pairs * kind).sum(axis=(1, 2)) for kind in (one * two, one**2, two**2))
    with np.errstate(invalid="ignore"):
        return agree / np.sqrt(untied * other)


def table(section: Section, scores: dict[Column, dict[Row, float]]) -> Table | None:
    """For each cheap test and dense task: tau with its interval, and what choosing by the test would have lost.

    Args:
        scores: of each primary column, the mean of each competitor, more being better.
    """
    probes = [c for task in PROBES for c in scores if c.task == task]
    dense = [c for c in scores if c.task in DENSE]
    if not probes or not dense:
        return None
    found = {(probe, column): between(section, scores, probe, column) for probe in probes for column in dense}
    rows = [
        [Cell(probe.label), *(_cell(section, scores, probe, column, found[probe, column]) for column in dense)]
        for probe in probes
    ]
    notes = [
        "Kendall's τ-b between the test's ranking of the methods and the dense task's, 1 the same order, −1 the "
        f"reverse; [low, high]: 95 % percentile bootstrap over methods and seeds ({RESAMPLES} resamples), which is too "
        "narrow for few methods; then what is lost in the dense metric by taking the method that the test puts first.",
        *(text for column in dense if (text := _best(column, {p: found[p, column] for p in probes}))),
    ]
    header = ["Probe", *(c.label for c in dense)]
    return Table("Does a cheap probe predict dense results?", header, rows, [""] * len(rows), notes)


def between(
    section: Section, scores: dict[Column, dict[Row, float]], probe: Column, column: Column
) -> Foresight | None:
    """How well a cheap test foretells a dense task, over the competitors that have both."""
    common = [row for row in scores[probe] if row in scores[column]]
    values = []
    for one in (probe, column):
        sign = 1 if one.direction == "up" else -1
        values.append([[sign * value for value in section.values(row, one).values()] for row in common])
    return foretell(*values)


def _cell(
    section: Section, scores: dict[Column, dict[Row, float]], probe: Column, column: Column, found: Foresight | None
) -> Cell:
    common = [row for row in scores[probe] if row in scores[column]]
    if len(common) < FEWEST:
        return Cell("too few methods", "", "missing")
    pick = max(common, key=scores[probe].__getitem__)
    loss = max(scores[column][row] for row in common) - scores[column][pick]
    lost = f"loses {number(loss, section.unit(column))}" if loss else "finds the best"
    if found is None:
        return Cell("–", f"no order; {lost}", "missing")
    return Cell(signed(found.tau), f"[{signed(found.low)}, {signed(found.high)}], n={found.n}; {lost}")


def _best(column: Column, found: dict[Column, Foresight | None]) -> str:
    """Which dense probe and which test of whole images foretells a dense task best; empty without either."""
    said = []
    for group, kind in (("probe", "dense probes"), ("image", "tests of whole images")):
        judged = {probe: f for probe, f in found.items() if f is not None and TASK[probe.task].group == group}
        if judged:
            best = max(judged, key=lambda probe: judged[probe].tau)
            zero = "" if judged[best].low > 0 else ", not distinguishable from no relation"
            said.append(f"of {kind} {best.label} ({judged[best]}{zero})")
    return f"{column.label} is foretold best {', '.join(said)}." if said else ""


def signed(value: float) -> str:
    """Two digits with a sign; a minus that is one."""
    return f"{value:+.2f}".replace("-", "−")
