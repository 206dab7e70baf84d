"""Token matching: the best assignment by trying all, padding, gradients at the matched entries only."""

import itertools

import numpy as np
import pytest
import torch

from pretrain.methods.lightclip_matching import match, matched


def best_by_trying(cost, columns):
    """The least total over all one-to-one assignments of rows and the allowed columns."""
    rows, size = range(cost.shape[0]), min(cost.shape[0], len(columns))
    return min(
        sum(cost[r, c] for r, c in zip(chosen, order, strict=True))
        for chosen in itertools.combinations(rows, size)
        for order in itertools.permutations(columns, size)
    )


def sample(n, t, lengths, seed=0):
    cost = torch.rand(len(lengths), n, t, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return cost, torch.arange(t) < torch.tensor(lengths).unsqueeze(1)


@pytest.mark.parametrize(("n", "t"), [(3, 5), (5, 3), (4, 4), (1, 4), (4, 1)])
def test_least_cost_of_all_assignments(n, t):
    lengths = [t, max(1, t - 1), max(1, t - 2), 1]
    cost, valid = sample(n, t, lengths)
    matching = match(cost, valid)
    assert matching.rows.shape == matching.columns.shape == matching.weight.shape == (4, min(n, t))
    for i, length in enumerate(lengths):
        used = matching.weight[i] > 0
        rows, columns = matching.rows[i][used].tolist(), matching.columns[i][used].tolist()
        assert len(set(rows)) == len(rows) == len(set(columns)) == min(n, length)
        assert max(columns) < length  # padding is never matched
        assert matching.weight[i].sum() == pytest.approx(1.0)
        total = float(cost[i, rows, columns].sum())
        assert total == pytest.approx(best_by_trying(cost[i].numpy(), list(range(length))), rel=1e-6)


def test_valid_columns_need_not_come_first():
    cost, _ = sample(2, 5, [5])
    valid = torch.tensor([[False, True, False, True, True]])
    matching = match(cost, valid)
    assert set(matching.columns[0].tolist()) <= {1, 3, 4}
    assert float(matched(cost, matching).sum()) == pytest.approx(best_by_trying(cost[0].numpy(), [1, 3, 4]))


def test_cheap_padding_and_a_constant_change_nothing():
    cost, valid = sample(4, 6, [6, 3, 2], seed=1)
    first = match(cost, valid)
    for other in (match(cost + 7, valid), match(cost.masked_fill(~valid.unsqueeze(1), -100.0), valid)):
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_pair_does_not_depend_on_the_others():
    cost, valid = sample(4, 6, [6, 3, 2], seed=2)
    together = match(cost, valid)
    alone = match(cost[1:2], valid[1:2])
    assert all(torch.equal(a[1:2], b) for a, b in zip(together, alone, strict=True))


def test_no_valid_column_gives_no_weight():
    cost, valid = sample(3, 4, [0, 4])
    matching = match(cost, valid)
    assert not matching.weight[0].any() and matching.weight[1].sum() == pytest.approx(1.0)


def test_gradient_reaches_matched_entries_only():
    cost, valid = sample(3, 5, [5, 2], seed=3)
    cost.requires_grad_(True)
    matching = match(cost, valid)
    (matched(cost, matching) * matching.weight).sum().backward()
    expected = np.zeros(cost.shape)
    for i in range(2):
        for r, c, w in zip(*(part[i].tolist() for part in matching), strict=True):
            expected[i, r, c] += w
    np.testing.assert_array_equal(cost.grad.numpy(), expected)
    assert (cost.grad > 0).sum() == 3 + 2


def test_broken_numbers_are_left_to_the_loop():
    cost, valid = sample(3, 4, [4, 2])
    cost[0, 1, 2] = torch.nan
    matching = match(cost, valid)
    assert len(set(matching.rows[0].tolist())) == 3 and matching.columns[1].max() < 2
