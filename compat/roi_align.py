"""RoIAlign (He et al., Mask R-CNN, 2017, section 3) without compiled code, forward and backward, in torch.

Bilinear sampling and averaging are linear in the feature map, so pooling is one sparse matrix: every output bin is a
weighted sum of a few feature cells. Its weights factor into a part along y and one along x; the samples of a bin that
share cells are merged per axis first ((g + 1)^2 cells instead of 4 g^2 for a g x g grid). `embedding_bag` applies the
matrix without storing the gathered rows; the gradient is the transposed matrix, the same call with entries sorted by
feature cell. So both are deterministic, on any device.

Memory: features once more in channels-last order, and about 40 bytes for each of at most `_ENTRIES` matrix entries.
Cost: `python -m benchmarks.ops`; the sort in the backward pass is the slowest part.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

_ENTRIES = 1 << 21


@dataclass(frozen=True)
class Pooling:
    """What a RoIAlign layer is: bins (height, width), the map's scale, samples per bin side (0: adaptive), half-pixel
    shift (`aligned`)."""

    size: tuple[int, int]
    scale: float
    sampling_ratio: int
    aligned: bool


@dataclass(frozen=True)
class _Axis:
    """One side of every RoI on the map, in cells: start [R], length of a bin [R], samples per bin [R]."""

    start: Tensor
    bin: Tensor
    grid: Tensor
    bins: int
    extent: int

    def samples(self, chosen: Tensor, grid: int) -> tuple[Tensor, Tensor, Tensor]:
        """Positions [R, P, g] of the samples in each bin, the cells [R, P, 2g] beside them and their weights.

        A sample further than one cell outside the map weighs nothing; one nearer takes the border's value.
        """
        step = torch.arange(grid, device=chosen.device, dtype=self.start.dtype) + 0.5
        number = torch.arange(self.bins, device=chosen.device, dtype=self.start.dtype)
        start, length = self.start[chosen], self.bin[chosen]
        first = start[:, None] + number * length[:, None]  # [R, P]
        position = first[:, :, None] + (step * length[:, None] / grid)[:, None]  # [R, P, g]
        inside = (position >= -1) & (position <= self.extent)
        bounded = position.clamp(0, self.extent)
        low = bounded.long().clamp(0, self.extent - 1)  # from below too: what NaN becomes as an integer is undefined
        beyond = (bounded - low).where(low < self.extent - 1, 0).where(inside, 0)
        cells = torch.cat([low, (low + 1).clamp(max=self.extent - 1)], dim=2)
        return position, cells, torch.cat([inside.to(beyond) - beyond, beyond], dim=2)

    def taps(self) -> tuple[dict[int, tuple[Tensor, Tensor]], Tensor]:
        """Per grid, `_merged` of the RoIs that have it; and each RoI's row [R] among those."""
        tables, row = {}, torch.zeros_like(self.grid)
        for grid in self.grid.unique().tolist():
            members = (self.grid == grid).nonzero()[:, 0]
            row[members] = torch.arange(len(members), device=row.device)
            if grid:
                tables[grid] = self._merged(members, grid)
        return tables, row

    def _merged(self, chosen: Tensor, grid: int) -> tuple[Tensor, Tensor]:
        """The cells [R, P, K] that each bin reads and the sum of their weights, cells shared by samples merged."""
        _, cells, weights = self.samples(chosen, grid)
        # Samples follow each other, so the lowest cell is the first's or, in a box turned over, the last's.
        first = torch.minimum(cells[:, :, :1], cells[:, :, grid - 1 : grid])
        relative = cells - first
        width = int(relative.max()) + 1
        if width >= cells.shape[2]:  # samples further apart than cells: nothing to merge
            return cells, weights
        merged = weights.new_zeros(*cells.shape[:2], width).scatter_add_(2, relative, weights)
        # A window that ends at the border has room to spare: those cells weigh nothing, but must exist.
        return (first + torch.arange(width, device=cells.device)).clamp(max=self.extent - 1), merged


def _axes(rois: Tensor, pooling: Pooling, extents: tuple[int, int]) -> tuple[_Axis, _Axis]:
    """The y and x sides of rois [R, 5] (image number, x1, y1, x2, y2) on a map of that many cells."""
    corners = rois[:, 1:] * pooling.scale - (0.5 if pooling.aligned else 0.0)
    axes = []
    for column, bins, extent in zip((1, 0), pooling.size, extents, strict=True):
        start, length = corners[:, column], corners[:, column + 2] - corners[:, column]
        if not pooling.aligned:
            length = length.clamp(min=1)
        # Divided by a tensor: on a GPU torch multiplies by the inverse of a plain number, and the rounding then adds
        # a sample where the length is a multiple of the bins.
        length = length / torch.full_like(length, bins)
        grid = (
            length.ceil().long().clamp(min=0)
            if pooling.sampling_ratio <= 0
            else torch.full_like(length, pooling.sampling_ratio, dtype=torch.long)
        )
        axes.append(_Axis(start, length, grid, bins, extent))
    return axes[0], axes[1]


def _groups(y: _Axis, x: _Axis) -> Iterator[tuple[int, int, Tensor]]:
    """RoIs with the same grid of samples per bin: (samples along y, samples along x, RoI numbers)."""
    most = int(x.grid.max()) + 1 if len(x.grid) else 1
    pair, order = (y.grid * most + x.grid).sort(stable=True)
    pairs, counts = pair.unique_consecutive(return_counts=True)
    for number, members in zip(pairs.tolist(), order.split(counts.tolist()), strict=True):
        if number // most and number % most:
            yield number // most, number % most, members


def _outer(y: Tensor, x: Tensor, combine: Callable) -> Tensor:
    """Every tap along y [r, P, Ky] with every one along x [r, P, Kx], per bin: [r, P*P, Ky*Kx]."""
    taps = y.shape[2] * x.shape[2]
    # Spread out per axis first: the large result is then written in runs of Ky*Kx, not of Kx, numbers.
    y = y[:, :, :, None].expand(-1, -1, -1, x.shape[2]).reshape(*y.shape[:2], 1, taps)
    x = x[:, :, None, :].expand(-1, -1, taps // x.shape[2], -1).reshape(len(x), 1, -1, taps)
    return combine(y, x).view(len(x), -1, taps)  # [r, P, P, Ky*Kx] -> [r, P*P, Ky*Kx]


def _matrix(rois: Tensor, pooling: Pooling, extents: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The pooling matrix in pieces: RoI numbers [r], feature cells [r, P*P, K] and weights [r, P*P, K]."""
    y, x = _axes(rois, pooling, extents)
    images = rois[:, 0].long() * (extents[0] * extents[1])
    (tables_y, row_y), (tables_x, row_x) = y.taps(), x.taps()
    for grid_y, grid_x, members in _groups(y, x):
        (cells_y, weights_y), (cells_x, weights_x) = tables_y[grid_y], tables_x[grid_x]
        per_roi = cells_y[0].numel() * cells_x[0].numel()
        for chosen in members.split(max(1, _ENTRIES // per_roi)):
            at_y, at_x = row_y[chosen], row_x[chosen]
            rows = images[chosen][:, None, None] + cells_y[at_y] * extents[1]
            cells = _outer(rows, cells_x[at_x], torch.add)
            weights = _outer(weights_y[at_y] / (grid_y * grid_x), weights_x[at_x], torch.mul)
            yield chosen, cells, weights


def _gathered(matrix: Iterator[tuple[Tensor, Tensor, Tensor]], bins: int) -> Iterator[list[Tensor]]:
    """The matrix as flat entries, small pieces joined: feature cells, bins (counted over all RoIs) and weights, [N]."""
    pieces, held = [], 0
    for chosen, cells, weights in matrix:
        bin_numbers = chosen[:, None] * bins + torch.arange(bins, device=chosen.device)  # [r, P*P]
        if pieces and held + cells.numel() > _ENTRIES:
            yield [torch.cat(column) for column in zip(*pieces, strict=True)]
            pieces, held = [], 0
        pieces.append((cells.flatten(), bin_numbers[:, :, None].expand_as(cells).flatten(), weights.flatten()))
        held += cells.numel()
    if pieces:
        yield [torch.cat(column) for column in zip(*pieces, strict=True)]


def _bags(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows of table [T, C]: cells and weights [N, K] -> [N, C]."""
    return embedding_bag(cells, table, mode="sum", per_sample_weights=weights)


def _rows(maps: Tensor) -> Tensor:
    """[B, C, H, W] -> [B*H*W, C], contiguous even where a view would do: embedding_bag is 20 times slower on one."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1]).contiguous()


@torch.no_grad()
def forward(features: Tensor, rois: Tensor, pooling: Pooling) -> Tensor:
    """Pool features [B, C, H, W] in rois [R, 5] (image number, x1, y1, x2, y2) to their bins' averages [R, C, P, P]."""
    table = _rows(features)
    pooled = features.new_zeros(len(rois), pooling.size[0] * pooling.size[1], features.shape[1])  # [R, P*P, C]
    for chosen, cells, weights in _matrix(rois, pooling, features.shape[2:]):
        pooled[chosen] = _bags(table, cells.flatten(0, 1), weights.flatten(0, 1)).view(len(chosen), *pooled.shape[1:])
    return pooled.transpose(1, 2).unflatten(2, pooling.size)


@torch.no_grad()
def backward(gradient: Tensor, rois: Tensor, shape: tuple[int, ...], pooling: Pooling) -> Tensor:
    """The gradient [B, C, H, W] (`shape`) of `forward`'s features, from that of its result [R, C, P, P]."""
    batch, channels, height, width = shape
    table = _rows(gradient)
    bins = pooling.size[0] * pooling.size[1]
    total = gradient.new_zeros(batch * height * width, channels)
    for entries in _gathered(_matrix(rois, pooling, (height, width)), bins):
        cells, order = entries[0].sort(stable=True)
        touched, counts = cells.unique_consecutive(return_counts=True)
        total.index_add_(
            0,
            touched,
            embedding_bag(
                entries[1][order], table, counts.cumsum(0) - counts, mode="sum", per_sample_weights=entries[2][order]
            ),
        )
    return total.view(batch, height, width, channels).permute(0, 3, 1, 2)


@torch.no_grad()
def forward_max(features: Tensor, rois: Tensor, pooling: Pooling) -> tuple[Tensor, Tensor, Tensor]:
    """As `forward`, but the largest sample of each bin: (values, its y, its x), each [R, C, P, P].

    As in mmcv's kernel a bin without a sample above -10,000 holds -10,000 and the position -1.
    """
    extents = features.shape[2:]
    y, x = _axes(rois, pooling, extents)
    table, images = _rows(features), rois[:, 0].long() * (extents[0] * extents[1])
    bins, channels = y.bins * x.bins, features.shape[1]
    value = features.new_full((len(rois), bins, channels), -10000.0)
    at_y, at_x = torch.full_like(value, -1.0), torch.full_like(value, -1.0)
    for grid_y, grid_x, members in _groups(y, x):
        samples = grid_y * grid_x
        for chosen in members.split(max(1, _ENTRIES // (samples * bins * max(4, channels)))):
            position_y, cells_y, weights_y = y.samples(chosen, grid_y)
            position_x, cells_x, weights_x = x.samples(chosen, grid_x)
            whole = (len(chosen), y.bins, x.bins, grid_y, grid_x)
            cells_y, weights_y = (t.view(*t.shape[:2], 2, grid_y).mT for t in (cells_y, weights_y))  # [r, P, g, 2]
            cells_x, weights_x = (t.view(*t.shape[:2], 2, grid_x).mT for t in (cells_x, weights_x))
            rows = images[chosen][:, None, None, None] + cells_y * extents[1]
            cells = rows[:, :, None, :, None, :, None] + cells_x[:, None, :, None, :, None, :]
            weights = weights_y[:, :, None, :, None, :, None] * weights_x[:, None, :, None, :, None, :]
            sampled = _bags(table, cells.reshape(-1, 4), weights.reshape(-1, 4)).view(-1, bins, samples, channels)
            best = sampled.argmax(dim=2, keepdim=True)  # [r, P*P, 1, C], the first of equals
            largest = sampled.gather(2, best)[:, :, 0]
            found = largest > -10000.0
            value[chosen] = largest.where(found, -10000.0)
            for target, position in ((at_y, position_y[:, :, None, :, None]), (at_x, position_x[:, None, :, None, :])):
                position = position.expand(whole).reshape(-1, bins, samples)
                target[chosen] = position.gather(2, best[:, :, 0]).where(found, -1.0)
    return tuple(t.transpose(1, 2).reshape(len(rois), channels, *pooling.size) for t in (value, at_y, at_x))


@torch.no_grad()
def backward_max(gradient: Tensor, rois: Tensor, at_y: Tensor, at_x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The gradient [B, C, H, W] (`shape`) of `forward_max`'s features: into the four cells around each maximum."""
    _, channels, height, width = shape
    total = gradient.new_zeros(shape)
    plane = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)  # [R, C]
    plane = plane[:, :, None, None] * (height * width)
    inside = (at_y >= -1) & (at_y <= height) & (at_x >= -1) & (at_x <= width) & (at_y != -1) & (at_x != -1)
    low_y, low_x = (at.clamp(min=0).long().clamp(max=extent - 1) for at, extent in ((at_y, height), (at_x, width)))
    part_y, part_x = (
        (at.clamp(min=0) - low).where(low < extent - 1, 0)
        for at, low, extent in ((at_y, low_y, height), (at_x, low_x, width))
    )
    for high_y in (False, True):
        for high_x in (False, True):
            row = (low_y + high_y).clamp(max=height - 1)
            cell = plane + row * width + (low_x + high_x).clamp(max=width - 1)
            weight = (part_y if high_y else 1 - part_y) * (part_x if high_x else 1 - part_x)
            total.view(-1).index_add_(0, cell.flatten(), (gradient * weight.where(inside, 0)).flatten())
    return total
