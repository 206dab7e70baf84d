"""Ranks, z-scores and Kendall's tau against hand-worked values and a plain count of pairs."""

import itertools

import numpy as np
import pytest
from synthetic import metric, record
from test_tables import miou, rmse, section_of

from reports.markdown import cell_text
from reports.sections import Row
from reports.summaries import summary_tables, tau


def knn(method, value):
    return record("knn", method, 0, metrics={"top1": metric(value, "%", primary=True)})


THREE = ("clip", "maskclip", "mae")


def again(entries):
    """The same of a second seed: what one run says is not ranked."""
    return [*entries, *({**entry, "seed": 1} for entry in entries)]


def test_ranks_z_scores_and_agreement_by_hand():
    entries = [
        entry
        for method, a, b in zip(THREE, (30.0, 32.0, 34.0), (0.9, 0.7, 0.8), strict=True)
        for entry in (miou(method, 0, a), rmse(method, 0, b))
    ]
    ranks, agreement = summary_tables(section_of(*again([*entries, miou("random", 0, 99.0), rmse("random", 0, 0.1)])))
    # mIoU: sd 2, z -1, 0, 1. RMSE, less is better: 0.8 +- 0.1, z -1, 1, 0. The floor is not ranked.
    assert [[cell_text(cell) for cell in row] for row in ranks.rows] == [
        ["MaskCLIP (noisy captions)", "2", "1", "1.50", "+0.50"],
        ["MAE", "1", "2", "1.50", "+0.50"],
        ["CLIP (noisy captions)", "3", "3", "3.00", "−1.00"],
    ]
    # pairs: clip-maskclip agree, clip-mae agree, maskclip-mae disagree: (2 - 1) / 3
    assert [[cell_text(cell) for cell in row] for row in agreement.rows] == [["mIoU UperNet", "+0.33 (n=3)"]]


def test_a_method_that_lacks_a_task_stands_apart():
    entries = [miou(method, 0, value) for method, value in zip(THREE, (30.0, 32.0, 34.0), strict=True)]
    entries += [rmse(method, 0, 0.5) for method in ("clip", "maskclip", "supervised")] + [miou("supervised", 0, 1.0)]
    ranks = summary_tables(section_of(*again(entries)))[0]
    assert [row[0].text for row in ranks.rows][-1] == "MAE" and ranks.kinds[-1] == "start"
    assert ranks.rows[-1][-1].sub == "1 of 2 tasks" and "not comparable" in ranks.notes[1]


def test_a_probe_that_predicts_and_one_that_does_not():
    values = (30.0, 32.0, 34.5)
    good = [knn(method, value) for method, value in zip(THREE, values, strict=True)]
    bad = [knn(method, -value) for method, value in zip(THREE, values, strict=True)]
    dense = [miou(method, 0, value) for method, value in zip(THREE, values, strict=True)]
    for probe, text in (
        (good, "+1.00 ([+1.00, +1.00], n=3; finds the best)"),
        (bad, "−1.00 ([−1.00, −1.00], n=3; loses 4.5)"),
    ):
        prediction = summary_tables(section_of(*probe, *dense))[-1]
        assert prediction.caption == "Does a cheap probe predict dense results?"
        assert [cell_text(cell) for cell in prediction.rows[0]] == ["k-NN top-1", text]


def test_text_tasks_are_left_out_of_mean_ranks_when_some_methods_have_no_text():
    entries = [
        entry
        for k, method in enumerate((*THREE, "supervised"))
        for entry in (miou(method, 0, 30.0 + k), knn(method, 50.0 - k))
    ]
    entries += [record("zero_shot", method, 0) for method in ("clip", "maskclip")]
    entries += [record("zero_shot", "clip_aligned", 0), miou("clip_aligned", 0, 3.0), knn("clip_aligned", 3.0)]
    ranks = summary_tables(section_of(*again(entries)))[0]
    assert ranks.header == ["Method", "rank, mIoU UperNet", "rank, k-NN top-1", "mean rank", "mean z-score"]
    assert "need a text tower" in ranks.notes[-1]


def test_one_run_of_a_method_ranks_nothing():
    entries = again([entry for k, m in enumerate(THREE) for entry in (miou(m, 0, 30.0 + k), rmse(m, 0, 0.9 - 0.1 * k))])
    assert summary_tables(section_of(*entries))[0].header[0] == "Method"
    assert "rank" not in str([table.header for table in summary_tables(section_of(*entries[:-1]))])


def test_too_little_for_a_summary():
    assert summary_tables(section_of(miou("clip", 0, 30.0), miou("mae", 0, 31.0), rmse("mae", 0, 1.0))) == []


@pytest.mark.parametrize("seed", range(5))
def test_tau_counts_pairs(seed):
    generator = np.random.default_rng(seed)
    rows = [Row(str(k), None, str(k), None) for k in range(9)]
    first = dict(zip(rows, generator.normal(size=9), strict=True))
    second = {row: first[row] + generator.normal() for row in rows}
    agree = sum(np.sign((first[a] - first[b]) * (second[a] - second[b])) for a, b in itertools.combinations(rows, 2))
    value, p, n = tau(first, second)
    assert value == pytest.approx(agree / 36) and n == 9 and 0 <= p <= 1
    assert tau(dict.fromkeys(rows, 1.0), second) is None


def test_a_probe_stands_beside_the_mean_of_dense_tasks():
    entries = [
        entry
        for k, method in enumerate(THREE)
        for entry in (miou(method, 0, 30.0 + k), rmse(method, 0, 0.9 - 0.1 * k), knn(method, 50.0 - k))
    ]
    ranks = summary_tables(section_of(*again(entries)))[0]
    assert [[cell_text(cell) for cell in row] for row in ranks.rows] == [
        ["MAE", "1", "1", "3", "1.00", "+1.00"],
        ["MaskCLIP (noisy captions)", "2", "2", "2", "2.00", "+0.00"],
        ["CLIP (noisy captions)", "3", "3", "1", "3.00", "−1.00"],
    ]
    assert "over the dense tasks" in ranks.notes[1]
