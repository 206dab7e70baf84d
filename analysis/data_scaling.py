"""Data efficiency: how much less data one pretraining needs than another for the same score (Apple's figure 2).

Each line is one kind of pretraining at several sizes of its data, with the same number of updates: only how many
different samples there are changes. Between neighbouring sizes the score is a straight line over log10 of the size. At
a score y that both lines reach,

    shift(y) = log10 size_baseline(y) - log10 size_other(y)

and 10 ** shift says how many times fewer samples the other line needs. Subsets should be nested, so that a larger
one only adds samples: tools/subsets.py makes such.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.drawing import COLOURS, chart, svg
from analysis.finding import Finding, Scalar
from engine.errors import UserError
from reports.records import read_record

LEVELS = 101  # scores at which the shift is measured, at equal steps over the range that both lines reach


@dataclass(frozen=True)
class Line:
    """One kind of pretraining: its name, sizes in rising order, and the mean score over the records of each size."""

    name: str
    sizes: tuple[int, ...]
    scores: tuple[float, ...]


def run(line: Sequence[Sequence[str]]) -> Finding:
    """Compare lines of result records; the first is the baseline.

    Args:
        line: for each its name and two or more `result.json` of different sizes; several of one size are averaged.

    Raises:
        UserError: records that cannot be read or compared, or lines that reach no score in common.
    """
    if len(line) < 2:
        raise UserError("a shift is between two lines: give --line twice or more, the baseline first")
    if bare := [name for name, *paths in line if not paths]:
        raise UserError(f"line {bare[0]!r} names no record: give --line NAME FILE FILE ...")
    records = {name: [(path, read_record(path)) for path in paths] for name, *paths in line}
    if len(records) < len(line):
        raise UserError(f"two lines have one name: give each of {', '.join(name for name, *_ in line)} its own")
    metric, unit, direction = comparable(records)
    lines = [line_of(name, found, metric) for name, found in records.items()]
    baseline, others = lines[0], lines[1:]
    scalars, curves = {}, {}
    for other in others:
        levels, shifts = shift_at_equal_score(baseline, other)
        label = f"fewer_samples_{len(curves) + 1}" if len(others) > 1 else "fewer_samples"
        about = f"how many times fewer samples {other.name} needs than {baseline.name}, geometric mean over scores"
        scalars[label] = Scalar(float(10 ** np.mean(shifts)), "times", about)
        curves[other.name] = {"score": levels.tolist(), "log10_shift": shifts.tolist()}
    task = next(iter(records.values()))[0][1]["protocol"]
    title = f"Score over pretraining data: {task}"
    words = [f"{other.name} needs {scalar.value:.2f} times fewer samples than {baseline.name}"
             for other, scalar in zip(others, scalars.values(), strict=True)]  # fmt: skip
    return Finding(
        title=title,
        checkpoints=[],
        settings={"metric": metric, "direction": direction, "baseline": baseline.name, "levels": LEVELS},
        scalars=scalars,
        values={"lines": [{"name": one.name, "sizes": one.sizes, "scores": one.scores} for one in lines],
                "shifts": curves},
        figure=draw(title, lines, f"{metric} ({unit})" if unit else metric),
        words=f"{'; '.join(words)}, on average over the scores that both reach.",
    )  # fmt: skip


def comparable(records: Mapping[str, Sequence[tuple[str, Mapping]]]) -> tuple[str, str, str]:
    """The primary metric of all records, its unit and direction. UserError where they must not stand together."""
    found = [pair for of_line in records.values() for pair in of_line]
    first_path, first = found[0]
    for path, record in found:
        if record["status"] != "ok":
            raise UserError(f"{path} is of a failed run ({record['error']}): leave it out or repeat the run")
        if record["budget"].get("pretrain_data") is None:
            raise UserError(f"{path} does not say how large its pretraining set was: repeat the run with this release")
        for what, value in alike(record).items():
            if value != (expected := alike(first)[what]):
                raise UserError(
                    f"{path} has {what} {value!r}, {first_path} {expected!r}: compare runs that differ in data alone"
                )
    ((metric, entry),) = [(name, m) for name, m in first["metrics"].items() if m["primary"]]
    return metric, entry["unit"], entry["direction"]


def alike(record: Mapping) -> dict:
    """What records of a comparison have in common."""
    return {"protocol": record["protocol"], "pretraining updates": record["budget"]["pretrain_updates"]}


def line_of(name: str, found: Sequence[tuple[str, Mapping]], metric: str) -> Line:
    """Mean scores by size. UserError for fewer than two sizes."""
    scores = defaultdict(list)
    for _, record in found:
        scores[record["budget"]["pretrain_data"]["samples"]].append(record["metrics"][metric]["value"])
    if len(scores) < 2:
        raise UserError(f"line {name!r} has records of {len(scores)} size(s) of data: give it two sizes or more")
    sizes = tuple(sorted(scores))
    return Line(name, sizes, tuple(float(np.mean(scores[size])) for size in sizes))


def log_size_at(score: float, line: Line) -> float | None:
    """log10 of the smallest size at which the line passes `score`; None where it never does."""
    sizes = np.log10(line.sizes)
    for k, (low, high) in enumerate(itertools.pairwise(line.scores)):
        if min(low, high) <= score <= max(low, high):
            part = 0.0 if low == high else (score - low) / (high - low)
            return float(sizes[k] + part * (sizes[k + 1] - sizes[k]))
    return None


def shift_at_equal_score(baseline: Line, other: Line) -> tuple[np.ndarray, np.ndarray]:
    """Scores that both lines reach, [LEVELS], and log10 of how many times fewer samples `other` needs there.

    Raises:
        UserError: lines without a score in common.
    """
    least = max(min(baseline.scores), min(other.scores))
    most = min(max(baseline.scores), max(other.scores))
    if least > most:
        raise UserError(
            f"{baseline.name!r} and {other.name!r} reach no score in common ({min(baseline.scores):.4g} to "
            f"{max(baseline.scores):.4g}, {min(other.scores):.4g} to {max(other.scores):.4g}): add sizes"
        )
    levels = np.linspace(least, most, LEVELS)
    return levels, np.array([log_size_at(y, baseline) - log_size_at(y, other) for y in levels])


def draw(title: str, lines: Sequence[Line], label: str) -> str:
    """Score over size, the size on a logarithmic axis."""
    figure = chart(title, "samples in the pretraining data", label)
    axes = figure.axes[0]
    axes.set_xscale("log")
    for number, (one, marker) in enumerate(zip(lines, itertools.cycle("osD^vPX"))):
        axes.plot(one.sizes, one.scores, marker=marker, color=COLOURS[number % len(COLOURS)], label=one.name)
    axes.legend(frameon=False, fontsize=8)
    return svg(figure)
