"""Data efficiency: how much less data one pretraining needs than another for the same score (Apple's figure 2).

Each line is one kind of pretraining at several sizes of its data, with the same number of updates: only how many
different samples there are changes. Between neighbouring sizes the score is a straight line over log10 of the size. At
a score y that both lines reach,

    shift(y) = log10 size_baseline(y) - log10 size_other(y)

and 10 ** shift says how many times fewer samples the other line needs. Subsets should be nested, so that a larger
one only adds samples: tools/subsets.py makes such.

Where all sizes of two lines have the same seeds of fine-tuning, the shift is measured for each seed alone too. Their
spread says what other seeds of fine-tuning may change, not what another pretraining may.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from analysis.drawing import COLOURS, chart, svg
from analysis.finding import Finding, Scalar
from engine.errors import UserError
from reports.records import read_record

LEVELS = 101  # scores at which the shift is measured, at equal steps over the range that both lines reach


class Point(NamedTuple):
    """One record: how many samples its pretraining had, the seed of its fine-tuning, its score."""

    size: int
    seed: int
    score: float


@dataclass(frozen=True)
class Line:
    """One kind of pretraining: its name, sizes in rising order, and the mean score over the records of each size."""

    name: str
    sizes: tuple[int, ...]
    scores: tuple[float, ...]


def run(line: Sequence[Sequence[str]]) -> Finding:
    """Compare lines of result records; the first is the baseline.

    Args:
        line: for each its name and `result.json` of two or more sizes; several of one size are averaged.

    Raises:
        UserError: records that cannot be read or compared, or lines that reach no score in common.
    """
    if len(line) < 2:
        raise UserError("a shift is between two lines: give --line twice or more, the baseline first")
    if bare := [name for name, *paths in line if not paths]:
        raise UserError(f"line {bare[0]!r} names no record: give --line NAME FILE FILE ...")
    records = {name: {path: read_record(path) for path in paths} for name, *paths in line}
    if len(records) < len(line):
        raise UserError(f"two lines have one name: give each of {', '.join(name for name, *_ in line)} its own")
    metric, unit, direction = comparable(records)
    points = {name: points_of(found, metric) for name, found in records.items()}
    lines = [line_of(name, of_line) for name, of_line in points.items()]
    baseline, others = lines[0], lines[1:]
    scalars, shifts, words = {}, {}, []
    for number, other in enumerate(others, 1):
        label = f"fewer_samples_{number}" if len(others) > 1 else "fewer_samples"
        levels, found = shift_at_equal_score(baseline, other)
        about = f"how many times fewer samples {other.name} needs than {baseline.name}, geometric mean over scores"
        scalars[label] = Scalar(float(10 ** np.mean(found)), "times", about)
        words.append(f"{other.name} needs {scalars[label].value:.3g} times fewer samples than {baseline.name}")
        alone = shift_by_seed(points[baseline.name], points[other.name])
        met = [float(10**shift) for shift in alone.values() if shift is not None]
        if met and len(alone) > 1:
            of = f"{len(met)} of {len(alone)} seeds of fine-tuning, each alone"
            scalars[f"{label}_low"] = Scalar(min(met), "times", f"the least of {of}")
            scalars[f"{label}_high"] = Scalar(max(met), "times", f"the most of {of}")
            words[-1] += f" ({min(met):.3g} to {max(met):.3g} by {of})"
        shifts[other.name] = {"score": levels.tolist(), "log10_shift": found.tolist(), "log10_shift_by_seed": alone}
    task = next(iter(records[baseline.name].values()))["protocol"]
    title = f"Score over pretraining data: {task}"
    return Finding(
        title=title,
        checkpoints=[],
        settings={"metric": metric, "direction": direction, "baseline": baseline.name, "levels": LEVELS},
        scalars=scalars,
        values={"lines": [{"name": one.name, "sizes": one.sizes, "scores": one.scores, "points": points[one.name]}
                          for one in lines], "shifts": shifts},
        figure=draw(title, lines, points, f"{metric} ({unit})" if unit else metric),
        words=f"{'; '.join(words)}, on average over the scores that both reach.",
    )  # fmt: skip


def comparable(records: Mapping[str, Mapping[str, Mapping]]) -> tuple[str, str, str]:
    """The primary metric of all records, line -> path -> record, its unit and direction.

    Raises:
        UserError: records that must not stand together.
    """
    everything = [pair for of_line in records.values() for pair in of_line.items()]
    for path, record in everything:
        if record["status"] != "ok":
            raise UserError(f"{path} is of a failed run ({record['error']}): leave it out or repeat the run")
        if record["budget"]["pretrain_data"]["samples"] is None:
            raise UserError(f"{path} does not say how large its pretraining set was: repeat the run with this release")
    for name, of_line in records.items():
        demand_alike(list(of_line.items()), pretraining, f"line {name!r} is to be of one kind of pretraining")
    demand_alike(everything, budgets, "compare runs that differ in data alone")
    first = everything[0][1]
    ((metric, entry),) = [(name, m) for name, m in first["metrics"].items() if m["primary"]]
    return metric, entry["unit"], entry["direction"]


def demand_alike(found: Sequence[tuple[str, Mapping]], what: Callable[[Mapping], Mapping[str, Any]], rule: str) -> None:
    """UserError for the first of (path, record) in which something of `what` is not as in the first one."""
    first_path, first = found[0]
    for path, record in found:
        for name, value in what(record).items():
            if value != (expected := what(first)[name]):
                raise UserError(f"{path} has {name} {value!r}, {first_path} {expected!r}: {rule}")


def pretraining(record: Mapping) -> dict[str, Any]:
    """What the records of one line have in common."""
    return {key: record[key] for key in ("method", "captions")} | {"encoder": record["checkpoint"]["encoder"]}


def budgets(record: Mapping) -> dict[str, Any]:
    """What all records have in common: the task and how long each stage was."""
    budget, settings = record["budget"], record["settings"]
    return {
        **{key: record[key] for key in ("protocol", "role")},
        "pretraining updates": budget["pretrain_updates"],
        "pretraining samples seen": budget["pretrain_samples"],
        **{f"fine-tuning {key}": settings[key] for key in ("iterations", "global_batch", "train_images")},
    }


def points_of(records: Mapping[str, Mapping], metric: str) -> list[Point]:
    """The records of a line in the order of size and seed. UserError for a record that is given twice."""
    found = {}
    for path, record in records.items():
        point = Point(record["budget"]["pretrain_data"]["samples"], record["seed"], record["metrics"][metric]["value"])
        key = (point.size, point.seed, record["checkpoint"]["sha256"])
        if key in found:
            raise UserError(
                f"{path} and {found[key][0]} are of one checkpoint of {point.size} samples and one seed, {point.seed}: "
                "name one of them"
            )
        found[key] = path, point
    return sorted(point for _, point in found.values())


def line_of(name: str, points: Sequence[Point]) -> Line:
    """Mean scores by size. UserError for fewer than two sizes."""
    scores = defaultdict(list)
    for point in points:
        scores[point.size].append(point.score)
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


def shift_by_seed(baseline: Sequence[Point], other: Sequence[Point]) -> dict[int, float | None]:
    """Seed -> mean log10 shift of its own records, None where they reach no score in common; seeds of all sizes."""

    def seeds_of_all_sizes(points: Sequence[Point]) -> set[int]:
        of_size = defaultdict(set)
        for point in points:
            of_size[point.size].add(point.seed)
        return set.intersection(*of_size.values())

    found = {}
    for seed in sorted(seeds_of_all_sizes(baseline) & seeds_of_all_sizes(other)):
        lines = [line_of("", [point for point in points if point.seed == seed]) for points in (baseline, other)]
        meet = max(min(one.scores) for one in lines) <= min(max(one.scores) for one in lines)
        found[seed] = float(np.mean(shift_at_equal_score(*lines)[1])) if meet else None
    return found


def draw(title: str, lines: Sequence[Line], points: Mapping[str, Sequence[Point]], label: str) -> str:
    """Score over size, the size on a logarithmic axis; a faint dot for each record."""
    figure = chart(title, "samples in the pretraining data", label)
    axes = figure.axes[0]
    axes.set_xscale("log")
    for number, (one, marker) in enumerate(zip(lines, itertools.cycle("osD^vPX"))):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(one.sizes, one.scores, marker=marker, color=colour, label=one.name)
        sizes, _, scores = zip(*points[one.name], strict=True)
        axes.plot(sizes, scores, ".", color=colour, markersize=5, alpha=0.4, markeredgewidth=0)
    axes.legend(frameon=False, fontsize=8)
    return svg(figure)
