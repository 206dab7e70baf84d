"""The one policy for resizing absolute positions, whichever encoder and whether learned or a fixed sin-cos table.

Policy: the table in the file is the truth; it is never regenerated from a formula (projects disagree on the order of
rows and columns). Its grid part is resized by bicubic interpolation with antialiasing, in float32, with the image's
corners aligned at cell borders (align_corners False); prefix entries (class, registers) are kept. At the native grid
the table is returned untouched, bit for bit.

This is timm's `resample_abs_pos_embed`, which every timm ViT also calls in its forward pass for an image of another
size, so a table resized here and one resized on the fly agree. Antialiasing makes a difference in both directions:
torch's antialiased bicubic kernel has a = -0.5, the plain one a = -0.75, so results differ slightly from projects that
interpolate without it. Adapters keep the table at its native grid and resize from there for each input size: resizing
twice would blur.
"""

import math

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from engine.errors import UserError

POSITION_KEY = "pos_embed"


def resize_positions(table: Tensor, new_grid: tuple[int, int], old_grid: tuple[int, int], prefix: int) -> Tensor:
    """Resize a table of absolute positions to another grid.

    Args:
        table: [1, prefix + rows * columns, d], prefix entries first, grid in row-major order.
        new_grid: (rows, columns) wanted.
        old_grid: (rows, columns) of `table`.
        prefix: Number of prefix entries in the table.

    Returns:
        [1, prefix + new rows * new columns, d]; `table` itself if the grids are equal.
    """
    rows, columns = old_grid
    if table.ndim != 3 or table.shape[1] != prefix + rows * columns:
        raise UserError(
            f"{POSITION_KEY} of shape {tuple(table.shape)} is not a {rows} x {columns} grid with {prefix} prefix "
            "entries; the encoder's arguments do not belong to these weights"
        )
    if tuple(new_grid) == tuple(old_grid):
        return table
    return resample_abs_pos_embed(table, list(new_grid), list(old_grid), num_prefix_tokens=prefix)


def position_layout(encoder: nn.Module) -> tuple[tuple[int, int], int] | None:
    """Return ((rows, columns), prefix entries) of the encoder's absolute position table, or None if it has none
    of the layout that `resize_positions` takes (a SAM's ViT has rows and columns as axes, and resizes them itself)."""
    grid = getattr(getattr(encoder, "patch_embed", None), "grid_size", None)
    if getattr(encoder, POSITION_KEY, None) is None or grid is None:
        return None
    prefix = 0 if getattr(encoder, "no_embed_class", False) else getattr(encoder, "num_prefix_tokens", 0)
    table = getattr(encoder, POSITION_KEY)
    return (tuple(grid), prefix) if table.ndim == 3 and table.shape[1] == prefix + math.prod(grid) else None
