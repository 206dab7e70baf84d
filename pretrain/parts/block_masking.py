"""Block-wise patch masks (BEiT, Bao et al. 2022): rectangles, until exactly so many patches are hidden."""

import math

import numpy as np
import torch

from engine.errors import UserError
from pretrain.parts.masking import RandomMask

ATTEMPTS = 10  # refused rectangles in a row after which the rest is hidden one by one


def block_mask(
    batch: int,
    grid: tuple[int, int],
    count: int,
    device: torch.device,
    min_block: int = 16,
    aspect: float = 0.3,
    rectangles_only: bool = False,
) -> RandomMask:
    """Hide exactly `count` patches of each image by rectangles, each image on its own.

    A rectangle's area is uniform between `min_block` and the number of patches still to hide, its aspect log-uniform in
    [aspect, 1 / aspect]; it may overlap others and is refused where it spans the grid or would hide too many. After ten
    refusals in a row BEiT's generator hides fewer; here the rest is drawn from the visible patches one by one, so that
    a batch has one shape, unless only rectangles are wanted: then they are drawn until the count is met (CAE).

    Args:
        batch: number of images.
        grid: (rows, columns) of patches.
        count: hidden patches of an image: 75 of 14 x 14 in BEiT, 98 in CAE's released code, which is 24.5 and 32 of
            8 x 8.
        device: where the mask goes. It is drawn on the host, for all images at once, from torch's global generator.
        min_block: least area of a rectangle in patches, capped at a twelfth of the grid: 16 of 14 x 14, 5 of 8 x 8.
        aspect: least height / width.
        rectangles_only: whether no patch is hidden by itself.

    Raises:
        UserError: count is not within 1 .. patches - 1.
    """
    rows, columns = grid
    patches = rows * columns
    if not 0 < count < patches:
        raise UserError(f"a block-wise mask cannot hide {count} of {rows} x {columns} patches: choose 1..{patches - 1}")
    attempts = None if rectangles_only else ATTEMPTS
    hidden = draw_blocks(batch, grid, count, min(min_block, max(1, patches // 12)), aspect, attempts)
    hidden = hidden.reshape(batch, patches)
    missing = count - hidden.sum(axis=1, keepdims=True)  # [B, 1]
    if missing.any():
        chance = np.where(hidden, 2.0, torch.rand(batch, patches).numpy())  # visible ones below 1
        places = (-chance).argsort(axis=1)[:, :count]  # all hidden ones, then visible ones at random
        np.put_along_axis(hidden, places, True, axis=1)
    order = torch.from_numpy(hidden.argsort(axis=1, kind="stable")).to(device, non_blocking=True)
    return RandomMask(order[:, : patches - count], order[:, patches - count :], order.argsort(dim=1))


def draw_blocks(
    batch: int, grid: tuple[int, int], count: int, min_block: int, aspect: float, attempts: int | None = ATTEMPTS
) -> np.ndarray:
    """Masks [batch, rows, columns] of at most `count` hidden patches, made of rectangles alone.

    A mask is given up after `attempts` refusals in a row; None for never: then it has exactly `count`.
    """
    rows, columns = grid
    hidden = np.zeros((batch, rows, columns), bool)
    left, refusals = np.full(batch, count), np.zeros(batch, np.int64)
    limit = np.inf if attempts is None else attempts
    row, column = np.arange(rows)[None], np.arange(columns)[None]
    while len(open_ := np.flatnonzero((left > 0) & (refusals < limit))):
        chance = torch.rand(4, len(open_), 1, dtype=torch.float64).numpy()
        room = left[open_, None]  # [K, 1]
        area = min_block + (room - min_block) * chance[0]  # where less than a block is left, areas between the two
        shape = np.exp(math.log(aspect) * (2 * chance[1] - 1))
        height, width = np.rint(np.sqrt(area * shape)), np.rint(np.sqrt(area / shape))
        top = np.floor(chance[2] * (rows - height + 1))
        start = np.floor(chance[3] * (columns - width + 1))
        inside_rows = (row >= top) & (row < top + height)  # [K, rows]
        inside_columns = (column >= start) & (column < start + width)  # [K, columns]
        fresh = inside_rows[:, :, None] & inside_columns[:, None, :] & ~hidden[open_]  # [K, rows, columns]
        gain = fresh.sum(axis=(1, 2))
        taken = (gain > 0) & (gain <= room[:, 0]) & (height < rows)[:, 0] & (width < columns)[:, 0]
        hidden[open_[taken]] |= fresh[taken]
        left[open_[taken]] -= gain[taken]
        refusals[open_] = np.where(taken, 0, refusals[open_] + 1)
    return hidden
