"""Statistics against scipy's own intervals and tests, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from reports.stats import Headroom, headroom, holm, paired, pooled_sd, summarise


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_equals_scipy(n):
    values = np.random.default_rng(n).normal(40, 3, n)
    found = summarise(values)
    low, high = scipy_stats.t.interval(0.95, n - 1, loc=values.mean(), scale=scipy_stats.sem(values))
    assert found.n == n
    assert found.mean == pytest.approx(values.mean())
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))


def test_interval_by_hand():
    found = summarise([1.0, 2.0, 3.0])  # sd 1, t(0.975, 2) = 4.302653
    assert (found.mean, found.sd) == (2.0, 1.0)
    assert found.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_one_value_has_no_interval():
    found = summarise([5.0])
    assert (found.n, found.mean, found.sd, found.half) == (1, 5.0, None, None)
    with pytest.raises(ValueError, match="no values"):
        summarise([])


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.5, -1.5])
def test_paired_verdict_agrees_with_the_paired_t_test(shift):
    generator = np.random.default_rng(3)
    base = generator.normal(40, 5, 6)
    first = dict(enumerate(base + shift + generator.normal(0, 0.5, 6)))
    second = dict(enumerate(base))
    test = scipy_stats.ttest_rel(list(first.values()), list(second.values()))
    for direction in ("up", "down"):
        found = paired(first, second, direction)
        assert found.p == pytest.approx(test.pvalue)
        interval = test.confidence_interval(0.95)
        assert (found.mean - found.half, found.mean + found.half) == pytest.approx((interval.low, interval.high))
        good = (test.statistic > 0) == (direction == "up")
        expected = ("better" if good else "worse") if test.pvalue < 0.05 else "not distinguishable"
        assert found.verdict == expected


def test_pairs_use_common_seeds_only():
    found = paired({0: 5.0, 1: 7.0, 9: 100.0}, {0: 4.0, 1: 4.0, 2: -50.0}, "up")
    assert (found.n, found.mean) == (2, 2.0)
    assert found.half == pytest.approx(12.7062047, rel=1e-6)  # t(0.975, 1) * sqrt(2) / sqrt(2)
    assert paired({0: 1.0}, {1: 1.0}, "up") is None
    single = paired({0: 3.0}, {0: 1.0}, "up")
    assert (single.verdict, single.p) == ("n=1", None)


def test_pooled_deviation():
    # variances 1 (2 degrees of freedom) and 8 (1): (2 * 1 + 8) / 3
    assert pooled_sd([[1, 2, 3], [0, 4], [7]]) == pytest.approx(math.sqrt(10 / 3))
    assert pooled_sd([[1], [2]]) is None


def test_headroom_gate_at_three_deviations():
    floor, noise = [10.0, 11.0, 12.0], 1.0  # every group below has a standard deviation of 1
    open_gate = headroom(floor, [value + 3.0 for value in floor], [[0.0, 1.0, 2.0]], "up")
    assert open_gate == Headroom("open", pytest.approx(3.0), pytest.approx(noise))
    assert open_gate.ratio == pytest.approx(3.0)
    assert headroom(floor, [value + 2.99 for value in floor], [], "up").state == "no headroom"
    assert headroom(floor, [value + 9.0 for value in floor], [], "down").state == "no headroom"
    assert headroom(floor, [value - 9.0 for value in floor], [], "down").state == "open"


def test_noise_of_other_methods_counts():
    floor, ceiling = [10.0, 11.0, 12.0], [14.0, 15.0, 16.0]
    assert headroom(floor, ceiling, [], "up").state == "open"
    assert headroom(floor, ceiling, [[0.0, 5.0, 10.0]], "up").state == "no headroom"


def test_headroom_that_cannot_be_tested():
    assert headroom([1.0], [9.0, 9.1], [], "up") == Headroom("not testable", pytest.approx(8.05), None, "one seed")
    assert headroom([], [9.0], [], "up").reason == "no random"
    assert headroom([1.0, 2.0], [], [], "up").reason == "no oracle"


def test_seeds_that_agree_exactly():
    assert headroom([1.0, 1.0], [2.0, 2.0], [], "up").ratio == math.inf
    assert headroom([1.0, 1.0], [1.0, 1.0], [], "up").state == "no headroom"
    assert paired({0: 2.0, 1: 2.0}, {0: 1.0, 1: 1.0}, "up").verdict == "better"
    assert paired({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}, "up").verdict == "not distinguishable"
    assert (paired({0: 2.0, 1: 2.0}, {0: 1.0, 1: 1.0}, "up").p, paired({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}, "up").p) == (
        0.0,
        1.0,
    )


def test_holm_by_hand_and_by_its_step_down_definition():
    # Holm's own procedure: the k-th smallest of m is compared with 0.05 / (m - k + 1) until one fails.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1.0, 1.0]
    generator = np.random.default_rng(5)
    for _ in range(50):
        values = list(generator.random(7) ** 3)
        rejected, ordered = set(), sorted(range(7), key=values.__getitem__)
        for k, index in enumerate(ordered):
            if values[index] >= 0.05 / (7 - k):
                break
            rejected.add(index)
        assert {k for k, p in enumerate(holm(values)) if p < 0.05} == rejected
