"""Kendall's tau against a plain count of pairs and scipy's; its bootstrap against plain loops and known orders."""

import numpy as np
import pytest
from scipy.stats import kendalltau
from synthetic import metric, record
from test_tables import miou, rmse, section_of

from reports import foretell
from reports.foretell import Foresight, weighted_tau
from reports.markdown import cell_text
from reports.summaries import summary_tables


def counted(first, second):
    """tau-b by a loop over pairs."""
    agree, untied, other = 0, 0, 0
    for i in range(len(first)):
        for j in range(i):
            one, two = first[i] - first[j], second[i] - second[j]
            agree += int(one * two > 0) - int(one * two < 0)
            untied, other = untied + (one != 0), other + (two != 0)
    return agree / np.sqrt(untied * other) if untied and other else np.nan


def test_tau_is_the_count_of_pairs_and_scipys():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, (2, 20, 9)).astype(float)  # with ties
    found = weighted_tau(first, second, np.ones((20, 9)))
    assert found == pytest.approx([counted(a, b) for a, b in zip(first, second, strict=True)])
    assert found == pytest.approx([kendalltau(a, b).statistic for a, b in zip(first, second, strict=True)])
    weights = rng.multinomial(9, [1 / 9] * 9, size=20)
    repeated = [[np.repeat(a, w) for a in pair] for *pair, w in zip(first, second, weights, strict=True)]
    assert weighted_tau(first, second, weights) == pytest.approx([counted(a, b) for a, b in repeated])


def test_the_interval_is_that_of_drawn_methods_and_seeds(monkeypatch):
    rng = np.random.default_rng(1)
    first = [list(rng.normal(k, 1.5, 3)) for k in range(6)]
    second = [list(rng.normal(k, 1.5, 2)) for k in range(6)]
    found = foretell.foretell(first, second)
    assert found == foretell.foretell(first, second) and found.n == 6
    assert found.tau == pytest.approx(counted(*([np.mean(v) for v in task] for task in (first, second))))
    generator, taus = np.random.default_rng(foretell.SEED), []
    weights = generator.multinomial(6, [1 / 6] * 6, size=foretell.RESAMPLES)
    drawn = [[generator.integers(len(v), size=(foretell.RESAMPLES, len(v))) for v in task] for task in (first, second)]
    for r in range(foretell.RESAMPLES):
        chosen = [m for m in range(6) for _ in range(weights[r][m])]
        means = [[np.mean([task[m][s] for s in seeds[m][r]]) for m in chosen] for task, seeds in
                 zip((first, second), drawn, strict=True)]  # fmt: skip
        taus.append(counted(*means))
    assert (found.low, found.high) == pytest.approx(np.nanquantile(taus, [0.025, 0.975]))
    assert -1 < found.low < found.tau < found.high <= 1
    monkeypatch.setattr(foretell, "BLOCK", 40)  # one resample at a time
    assert foretell.foretell(first, second) == found


def test_known_orders():
    ordered = [[float(k), k + 0.1] for k in range(5)]  # no seed changes the order
    assert foretell.foretell(ordered, ordered) == Foresight(1.0, 1.0, 1.0, 5)
    assert foretell.foretell(ordered, ordered[::-1]) == Foresight(-1.0, -1.0, -1.0, 5)
    assert foretell.foretell(ordered, [[1.0]] * 5) is None, "one value has no order"
    assert foretell.foretell(ordered[:2], ordered[:2]) is None


def test_the_table_says_what_foretells_what():
    methods, values = ("clip", "maskclip", "mae", "supervised"), (30.0, 32.0, 34.5, 35.0)
    entries = [miou(method, 0, value) for method, value in zip(methods, values, strict=True)]
    for method, share, error in zip(methods, (20.0, 21.0, 22.0, 23.0), (0.7, 0.9, 0.8, 0.6), strict=True):
        entries.append(miou(method, 0, share) | {"task": "linear_seg"})
        entries.append(rmse(method, 0, error) | {"task": "linear_depth"})
        entries.append(record("knn", method, 0, metrics={"top1": metric(-share, "%", primary=True)}))
    found = summary_tables(section_of(*entries))[-1]
    rows = {row[0].text: cell_text(row[1]) for row in found.rows}
    assert [*rows] == ["mIoU linear", "linear depth RMSE", "k-NN top-1"]
    assert rows["mIoU linear"] == "+1.00 ([+1.00, +1.00], n=4; finds the best)"
    assert rows["linear depth RMSE"].startswith("+0.33 (["), "less is better there"
    assert rows["k-NN top-1"].endswith("n=4; loses 5.0)")
    assert found.notes[-1] == (
        "mIoU UperNet is foretold best of dense probes mIoU linear (+1.00 [+1.00, +1.00]), of tests of whole images "
        "k-NN top-1 (−1.00 [−1.00, −1.00], not distinguishable from no relation)."
    )
