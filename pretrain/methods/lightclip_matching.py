"""One-to-one matching of the two token sets of a pair (Hungarian algorithm), for losses on the matched entries."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


class Matching(NamedTuple):
    """The matched entries of each pair, padded to a fixed K = min(N, T).

    rows: [B, K] positions in the first set; columns: [B, K] in the second; weight: [B, K], 1 / k for a pair's k
    matches, 0 for padding, whose rows and columns are 0. All zero for a pair without valid columns.
    """

    rows: Tensor
    columns: Tensor
    weight: Tensor


@torch.no_grad()
def match(cost: Tensor, valid: Tensor) -> Matching:
    """The assignment of least total cost within each pair: k = min(N, valid columns) entries, no row or column twice.

    The costs go to the host in one copy and the positions come back in one: that is the only point of a step at which
    the host waits for the device.

    Args:
        cost: [B, N, T].
        valid: bool [B, T], the columns that may be matched.
    """
    b, n, t = cost.shape
    k = min(n, t)
    # A run whose numbers broke must end with the loop's message about its gradients, not with scipy's about its input.
    cost = cost.float().nan_to_num().masked_fill(~valid.unsqueeze(1), torch.inf)
    host = cost.cpu().numpy()
    found = np.zeros((2, b, k), np.int64)
    for i, matrix in enumerate(host):
        columns = np.flatnonzero(matrix[0] != np.inf)
        rows, chosen = linear_sum_assignment(matrix[:, columns])
        found[0, i, : len(rows)], found[1, i, : len(rows)] = rows, columns[chosen]
    rows, columns = torch.from_numpy(found).to(cost.device)
    count = valid.sum(dim=1, keepdim=True).clamp(max=n)  # [B, 1]
    weight = (torch.arange(k, device=cost.device) < count) / count.clamp(min=1)
    return Matching(rows, columns, weight)


def matched(values: Tensor, matching: Matching) -> Tensor:
    """The entries [B, K] of values [B, N, T] at the matched places, with gradients; padding holds entry (0, 0)."""
    places = matching.rows * values.shape[2] + matching.columns
    return values.flatten(1).gather(1, places)
