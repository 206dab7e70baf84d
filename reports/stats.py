"""Means, intervals and paired differences over seeds, and the headroom gate that a ranking must pass.

All intervals are two-sided 95 % Student intervals. One value has no spread: its interval is None, never zero.
"""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95
GATE = 3.0  # seed standard deviations that must lie between floor and ceiling before methods are ranked


@dataclass(frozen=True)
class Summary:
    """`n` values: their mean, sample standard deviation and half-width of the 95 % interval (None where n is 1)."""

    n: int
    mean: float
    sd: float | None
    half: float | None


@dataclass(frozen=True)
class Difference:
    """Mean over `n` common seeds of first minus second, with the half-width of its 95 % interval (None where n is 1).

    `direction` is the metric's: "up" where more is better. `p` is the two-sided paired t-test's (None where n is 1).
    """

    n: int
    mean: float
    half: float | None
    direction: str
    p: float | None = None

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where the interval leaves out zero, else "not distinguishable"; "n=1" for one seed."""
        if self.half is None:
            return "n=1"
        if abs(self.mean) <= self.half:
            return "not distinguishable"
        return "better" if (self.mean > 0) == (self.direction == "up") else "worse"


@dataclass(frozen=True)
class Headroom:
    """The gate of one metric: `state` is "open", "no headroom" or "not testable" (then `reason` says why).

    `margin` is ceiling mean minus floor mean in the good direction, `noise` the pooled seed standard deviation.
    """

    state: str
    margin: float | None = None
    noise: float | None = None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """The margin in seed standard deviations; infinite where the seeds agree exactly."""
        if self.margin is None or self.noise is None:
            return None
        return self.margin / self.noise if self.noise else math.inf


def half_width(sd: float, n: int) -> float:
    """Half-width of the 95 % Student interval of a mean of `n` >= 2 values with sample standard deviation `sd`."""
    return _quantile(n - 1) * sd / math.sqrt(n)


@functools.cache
def _quantile(freedom: int) -> float:
    return float(student.ppf((1 + LEVEL) / 2, freedom))


def summarise(values: Iterable[float]) -> Summary:
    """Return the `Summary` of at least one value."""
    array = np.asarray(list(values), dtype=float)  # [n]
    if array.size == 0:
        raise ValueError("no values to summarise")
    if array.size == 1:
        return Summary(1, float(array[0]), None, None)
    sd = float(array.std(ddof=1))
    return Summary(array.size, float(array.mean()), sd, half_width(sd, array.size))


def paired(first: Mapping[int, float], second: Mapping[int, float], direction: str) -> Difference | None:
    """Return first minus second over the seeds that both have ({seed: value}); None where they share no seed."""
    common = sorted(first.keys() & second.keys())
    if not common:
        return None
    summary = summarise(first[seed] - second[seed] for seed in common)
    return Difference(summary.n, summary.mean, summary.half, direction, _p_value(summary))


def _p_value(differences: Summary) -> float | None:
    """Two-sided p of the t-test that the mean is zero; without any spread 0 for a difference and 1 for none."""
    if differences.sd is None:
        return None
    if differences.sd == 0:
        return float(differences.mean == 0)
    statistic = abs(differences.mean) / (differences.sd / math.sqrt(differences.n))
    return float(2 * student.sf(statistic, differences.n - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of one family of tests for their number (Holm 1979); each at least as large as it was."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def pooled_sd(groups: Iterable[Sequence[float]]) -> float | None:
    """Root of the mean within-group variance, weighted by degrees of freedom; None if no group has two values."""
    arrays = [np.asarray(group, dtype=float) for group in groups if len(group) >= 2]
    freedom = sum(array.size - 1 for array in arrays)
    if not freedom:
        return None
    return math.sqrt(sum(array.var(ddof=1) * (array.size - 1) for array in arrays) / freedom)


def headroom(
    floor: Sequence[float], ceiling: Sequence[float], others: Iterable[Sequence[float]], direction: str
) -> Headroom:
    """Compare ceiling minus floor with three pooled seed standard deviations of all methods (`others` included)."""
    for name, values in (("random", floor), ("oracle", ceiling)):
        if not values:
            return Headroom("not testable", reason=f"no {name}")
    sign = 1.0 if direction == "up" else -1.0
    margin = sign * (float(np.mean(ceiling)) - float(np.mean(floor)))
    if len(floor) < 2 or len(ceiling) < 2:
        return Headroom("not testable", margin=margin, reason="one seed")
    noise = pooled_sd([floor, ceiling, *others])
    state = "open" if margin > 0 and margin >= GATE * noise else "no headroom"
    return Headroom(state, margin, noise)
