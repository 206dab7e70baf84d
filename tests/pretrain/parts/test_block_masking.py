"""Block-wise masks: exact counts, rectangles of the published areas and aspects, drawn from torch's generator."""

import math
import random

import numpy as np
import pytest
import torch

from engine.errors import UserError
from pretrain.parts.block_masking import block_mask, draw_blocks

CPU = torch.device("cpu")


@pytest.mark.parametrize(("grid", "count"), [((14, 14), 75), ((14, 14), 98), ((8, 8), 25), ((4, 4), 6), ((6, 9), 20)])
def test_every_image_hides_exactly_so_many(grid, count):
    patches = grid[0] * grid[1]
    torch.manual_seed(0)
    mask = block_mask(40, grid, count, CPU)
    assert mask.keep.shape == (40, patches - count) and mask.hidden.shape == (40, count)
    both = torch.cat([mask.keep, mask.hidden], dim=1)
    assert torch.equal(both.sort(dim=1).values, torch.arange(patches).expand(40, -1))
    assert torch.equal(both.gather(1, mask.restore), torch.arange(patches).expand(40, -1))
    assert len({tuple(row.tolist()) for row in mask.hidden}) > 30, "the images share masks"


def test_torchs_generator_decides():
    np.random.seed(0)
    torch.manual_seed(3)
    first = block_mask(5, (8, 8), 25, CPU)
    np.random.seed(1)
    torch.manual_seed(3)
    again = block_mask(5, (8, 8), 25, CPU)
    other = block_mask(5, (8, 8), 25, CPU)
    assert torch.equal(first.hidden, again.hidden) and not torch.equal(first.hidden, other.hidden)


def rectangles(grid, min_block, count, draws):
    """The first rectangle of each of many masks: (height, width) where the drawn patches form one rectangle alone."""
    torch.manual_seed(1)
    found = []
    for mask in draw_blocks(draws, grid, count, min_block, 0.3):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if (
            np.ptp(rows) + 1 == len(rows)
            and np.ptp(columns) + 1 == len(columns)
            and mask.sum() == len(rows) * len(columns)
        ):
            found.append((len(rows), len(columns)))
    return found


def test_areas_and_aspects():
    """Where count is the least area, a mask is mostly one rectangle of that area, give or take the rounding."""
    found = rectangles((14, 14), 16, 16, 600)
    assert len(found) > 300
    for height, width in found:
        assert height * width <= 16
        assert 0.3 / 1.6 < height / width < 1.6 / 0.3  # sides are rounded
    logs = [math.log(height / width) for height, width in found]
    assert min(logs) < -0.8 and max(logs) > 0.8 and abs(np.mean(logs)) < 0.15  # log-uniform: symmetric, wide


def test_blocks_hang_together():
    """Hidden patches have hidden neighbours far more often than those of a random mask with the same count."""
    torch.manual_seed(0)
    hidden = np.zeros((200, 196), bool)
    np.put_along_axis(hidden, block_mask(200, (14, 14), 75, CPU).hidden.numpy(), True, axis=1)
    hidden = hidden.reshape(200, 14, 14)
    share = (hidden[:, :, 1:] & hidden[:, :, :-1]).sum() / hidden[:, :, :-1].sum()
    assert share > 0.7  # 75 / 196 = 0.38 for a random mask
    centre, corner = hidden[:, 6:8, 6:8].mean(), hidden[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean()
    assert centre > 2 * corner  # rectangles lie inside the grid


def test_rectangles_alone_never_hide_too_many():
    torch.manual_seed(0)
    counts = draw_blocks(300, (14, 14), 75, 16, 0.3).sum(axis=(1, 2))
    assert counts.max() == 75 and (counts == 75).mean() > 0.4 and counts.min() > 55  # the rest comes one by one


def masked_by_loops(rows, columns, count, min_block=16, aspect=0.3):
    """CAE's generator in plain Python: rectangle by rectangle until the count is met (Chen et al. 2022)."""
    hidden = np.zeros((rows, columns), bool)
    while (left := count - int(hidden.sum())) > 0:
        area = random.uniform(min_block, left)
        shape = math.exp(random.uniform(math.log(aspect), -math.log(aspect)))
        height, width = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if height < rows and width < columns:
            top, start = random.randint(0, rows - height), random.randint(0, columns - width)
            block = hidden[top : top + height, start : start + width]
            if 0 < height * width - int(block.sum()) <= left:
                block[:] = True
    return hidden


def isolated(hidden):
    """Hidden patches [n, rows, columns] without a hidden neighbour, an image."""
    around = np.pad(hidden, ((0, 0), (1, 1), (1, 1)))
    near = around[:, :-2, 1:-1] | around[:, 2:, 1:-1] | around[:, 1:-1, :-2] | around[:, 1:-1, 2:]
    return (hidden & ~near).sum() / len(hidden)


def test_rectangles_alone_are_caes_masks():
    random.seed(0)
    plain = np.stack([masked_by_loops(14, 14, 75) for _ in range(1500)])
    torch.manual_seed(0)
    found = {}
    for only in (False, True):
        found[only] = np.zeros((1500, 196), bool)
        mask = block_mask(1500, (14, 14), 75, CPU, rectangles_only=only)
        np.put_along_axis(found[only], mask.hidden.numpy(), True, axis=1)
        found[only] = found[only].reshape(-1, 14, 14)
        assert (found[only].sum(axis=(1, 2)) == 75).all()
    assert isolated(found[True]) == pytest.approx(isolated(plain), abs=0.05)
    assert isolated(found[False]) > isolated(plain) + 0.15
    # where the patches lie, each share within five standard deviations of the difference
    assert np.abs(found[True].mean(axis=0) - plain.mean(axis=0)).max() < 5 * math.sqrt(2 * 0.25 / 1500)


def test_least_block_is_capped_on_small_grids():
    torch.manual_seed(0)
    capped = block_mask(30, (8, 8), 12, CPU)
    torch.manual_seed(0)
    assert torch.equal(capped.hidden, block_mask(30, (8, 8), 12, CPU, min_block=5).hidden)
    torch.manual_seed(0)
    assert not torch.equal(capped.hidden, block_mask(30, (8, 8), 12, CPU, min_block=2).hidden)


@pytest.mark.parametrize("count", [0, 16, 40])
def test_impossible_counts_are_refused(count):
    with pytest.raises(UserError, match=rf"cannot hide {count} of 4 x 4 patches: choose 1..15"):
        block_mask(2, (4, 4), count, CPU)
