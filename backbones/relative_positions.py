"""The one policy for relative position bias tables, and timm's Beit (BEiT, FD) at any input size.

A table has a row for every offset between two patches of the native grid, (2 rows - 1) x (2 columns - 1), and three
more at its end: class to patch, patch to class, class to class. Policy: for another grid the offsets are resized by
BEiT's geometrically spaced interpolation (Bao et al. 2022; timm's `resize_rel_pos_bias_table`), dense around offset 0
and coarse far out; the last three rows are kept. At the native grid the table is used untouched, bit for bit.

That interpolation is linear in the table's values and separable, so per axis it is a small matrix, taken from timm's
function once per pair of lengths by resizing unit tables. Resizing is thus differentiable: fine-tuning at any size
trains the table at its native grid, and every input size starts from there. The published code resizes once, to the
grid of fine-tuning, and trains the larger table; the functions that both can represent are the same at the start.

timm's Beit takes one size only. `take_any_size` turns a built one into `AnySizeBeit`, with the same keys, the same
output at the native size, and absolute positions, where it has them, resized by backbones/positions.py.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from timm.layers import resize_rel_pos_bias_table
from timm.models import checkpoint
from timm.models.beit import Attention, Beit
from torch import Tensor, nn
from torch.nn import functional

from backbones.ledger import Ledger
from backbones.positions import resize_positions
from engine.errors import UserError

TABLE = "relative_position_bias_table"
SHARED = f"rel_pos_bias.{TABLE}"

Grid = tuple[int, int]


class At(NamedTuple):
    """What `AnySizeBeit` hands to blocks with a table of their own: the grid, and the shared bias if there is one."""

    grid: Grid
    shared: Tensor | None  # [heads, 1 + N, 1 + N]


@functools.lru_cache(maxsize=4096)
def axis_matrix(old: int, new: int, device: torch.device) -> Tensor:
    """Float32 matrix [2 new - 1, 2 old - 1] that resizes the offsets along one axis from `old` cells to `new`.

    Equal lengths give no unit matrix: timm spaces offsets by at least 1.01 cells as soon as it resizes any axis.
    """
    offsets = 2 * old - 1
    # The caller may be within torch.device("meta") or inference mode; the cached matrix must belong to neither.
    with torch.device("cpu"), torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm indexes in a way that torch discourages
        # One table a head, of equal columns since only this axis matters: table k is 1 in row k and 0 elsewhere.
        units = torch.eye(offsets).repeat_interleave(3, dim=0)  # [offsets * 3, offsets]
        resized = resize_rel_pos_bias_table(units, (new, 3), ((2 * new - 1) * 5, offsets), old_window_size=(old, 2))
        return resized.view(2 * new - 1, 5, offsets)[:, 0].contiguous().to(device)


def resize_table(table: Tensor, new_grid: Grid, old_grid: Grid) -> Tensor:
    """Resize a relative position bias table to another grid; differentiable.

    Args:
        table: [(2 rows - 1) * (2 columns - 1) + 3, heads], offsets in row-major order.
        new_grid: (rows, columns) wanted.
        old_grid: (rows, columns) of `table`.

    Returns:
        The same layout for `new_grid`, in the table's own type; `table` itself if the grids are equal.

    Raises:
        UserError: a table of another size than `old_grid` needs.
    """
    rows, columns = old_grid
    span = (2 * rows - 1, 2 * columns - 1)
    if table.ndim != 2 or len(table) != span[0] * span[1] + 3:
        raise UserError(
            f"a relative position bias table of shape {tuple(table.shape)} does not belong to a grid of {rows} x "
            f"{columns} patches, which needs {span[0] * span[1] + 3} rows; the encoder's arguments do not belong to "
            "these weights"
        )
    if tuple(new_grid) == tuple(old_grid):
        return table
    with torch.autocast("cpu" if table.is_meta else table.device.type, enabled=False):  # "meta" has no autocast
        offsets = table[:-3].float().view(*span, -1)
        by_row, by_column = (axis_matrix(o, n, table.device) for o, n in zip(old_grid, new_grid, strict=True))
        rows_done = (by_row @ offsets.flatten(1)).view(len(by_row), span[1], -1)
        resized = (by_column @ rows_done).flatten(0, 1)  # [rows * columns of offsets, heads]
        return torch.cat([resized.to(table.dtype), table[-3:]])


def relative_bias(table: Tensor, grid: Grid) -> Tensor:
    """Lay out a table of that grid as the bias [heads, 1 + N, 1 + N] of attention from row to column, class first.

    Windows of the table instead of timm's index, which would be 1 + N squared long integers for every image size.
    """
    rows, columns = grid
    heads, patches = table.shape[1], rows * columns
    offsets = table[:-3].T.reshape(heads, 2 * rows - 1, 2 * columns - 1)
    # From patch (r, c) to (r', c') it is offset (r - r' + rows - 1, c - c' + columns - 1), which falls as r', c' rise.
    windows = offsets.flip(1, 2).unfold(1, rows, 1).unfold(2, columns, 1)  # [heads, rows, columns, r', c']
    between = windows.flip(1, 2).reshape(heads, patches, patches)
    class_to_patch, patch_to_class, class_to_class = table[-3:].view(3, heads, 1, 1)
    above = torch.cat([class_to_class, class_to_patch.expand(-1, 1, patches)], dim=2)
    below = torch.cat([patch_to_class.expand(-1, patches, 1), between], dim=2)
    return torch.cat([above, below], dim=1)


class AnySizeAttention(Attention):
    """timm's attention of a block with a table of its own, at the grid that `AnySizeBeit` hands over."""

    def forward(self, x: Tensor, shared_rel_pos_bias: Tensor | At | None = None) -> Tensor:
        """Tokens [B, 1 + N, d] to the same shape; without an `At` at the native grid, as timm's."""
        given = shared_rel_pos_bias
        grid, shared = given if isinstance(given, At) else (self.window_size, given)
        bias = relative_bias(resize_table(self.relative_position_bias_table, grid, self.window_size), grid)
        bias = bias if shared is None else bias + shared
        batch, tokens, width = x.shape
        qkv_bias = None if self.q_bias is None else torch.cat((self.q_bias, self.k_bias, self.v_bias))
        qkv = functional.linear(x, self.qkv.weight, qkv_bias).reshape(batch, tokens, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [B, heads, 1 + N, d / heads]
        if self.fused_attn:
            dropout = self.attn_drop.p if self.training else 0.0
            x = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], dropout_p=dropout)
        else:
            x = self.attn_drop(((q * self.scale) @ k.mT + bias).softmax(dim=-1)) @ v
        return self.proj_drop(self.proj(x.transpose(1, 2).reshape(batch, tokens, width)))


class AnySizeBeit(Beit):
    """timm's Beit for images whose sides are any multiples of its patch; made by `take_any_size`."""

    def embed_any_size(self, x: Tensor) -> tuple[Tensor, Grid]:
        """Images [B, 3, H, W] to (tokens [B, 1 + N, d] with absolute positions if any, their grid)."""
        grid = self.patch_embed.dynamic_feat_size(tuple(x.shape[-2:]))
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        if self.pos_embed is not None:
            x = x + resize_positions(self.pos_embed, grid, self.patch_embed.grid_size, self.num_prefix_tokens)
        return self.pos_drop(x), grid

    def run_blocks(self, x: Tensor, grid: Grid, count: int | None = None) -> list[Tensor]:
        """Tokens [B, 1 + N, d] of a grid to the outputs of the first `count` blocks; a shared bias is made once."""
        shared = None
        if self.rel_pos_bias is not None:
            table = self.rel_pos_bias.relative_position_bias_table
            shared = relative_bias(resize_table(table, grid, self.rel_pos_bias.window_size), grid)
        outputs = []
        for block in self.blocks[:count]:
            bias = At(grid, shared) if isinstance(block.attn, AnySizeAttention) else shared
            run = functools.partial(checkpoint, block) if self.grad_checkpointing else block
            x = run(x, shared_rel_pos_bias=bias)
            outputs.append(x)
        return outputs

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] to tokens [B, 1 + N, d] after the final norm."""
        return self.norm(self.run_blocks(*self.embed_any_size(x))[-1])

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The outputs of chosen blocks, with the arguments and the result of timm's function of that name."""
        depth = len(self.blocks)
        count = depth if indices is None else indices
        wanted = range(depth - count, depth) if isinstance(count, int) else sorted(range(depth)[i] for i in count)
        x, grid = self.embed_any_size(x)
        outputs = self.run_blocks(x, grid, wanted[-1] + 1 if stop_early else None)
        taken = [self.norm(outputs[i]) if norm else outputs[i] for i in wanted]
        maps = [tokens[:, 1:] for tokens in taken]
        if output_fmt == "NCHW":
            maps = [tokens.transpose(1, 2).unflatten(2, grid).contiguous() for tokens in maps]
        if return_prefix_tokens:
            maps = [(patches, tokens[:, :1]) for patches, tokens in zip(maps, taken, strict=True)]
        return maps if intermediates_only else (self.norm(outputs[-1]), maps)


def take_any_size(encoder: nn.Module) -> None:
    """Make a Beit that timm built take any input size, in place; other encoders are left alone.

    timm builds models by name, so classes are exchanged afterwards for subclasses that add methods and no state.
    """
    if type(encoder) is not Beit:
        return
    encoder.__class__ = AnySizeBeit
    encoder.patch_embed.strict_img_size = False
    for block in encoder.blocks:
        if block.attn.relative_position_bias_table is not None:
            block.attn.__class__ = AnySizeAttention


def unshare_tables(encoder: nn.Module, ledger: Ledger) -> Ledger:
    """Give every block its own copy of the table that a Beit shares among them, in place, as BEiT and FD fine-tune.

    The output stays the same until training parts the copies. Encoders that share no table, or whose blocks have
    tables of their own beside it, are left alone.

    Returns:
        The ledger of the encoder's weights with the shared table dropped and the copies new.
    """
    attentions = [block.attn for block in encoder.blocks] if isinstance(encoder, AnySizeBeit) else []
    tables = {f"blocks.{i}.attn.{TABLE}": attention for i, attention in enumerate(attentions)}
    if not tables or encoder.rel_pos_bias is None or isinstance(attentions[0], AnySizeAttention):
        return ledger
    for attention in attentions:
        attention.relative_position_bias_table = nn.Parameter(getattr(encoder.rel_pos_bias, TABLE).detach().clone())
        attention.window_size = encoder.rel_pos_bias.window_size
        attention.__class__ = AnySizeAttention
    encoder.rel_pos_bias = None
    return dataclasses.replace(
        ledger,
        loaded=tuple(key for key in ledger.loaded if key != SHARED),
        resized={key: shapes for key, shapes in ledger.resized.items() if key != SHARED},
        dropped={**ledger.dropped, SHARED: "every block has its own copy for fine-tuning"},
        new={**ledger.new, **dict.fromkeys(tables, f"a copy of {SHARED}")},
    )


def table_rules(encoder: nn.Module, stored: nn.Module) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """`Rules.resize` for the tables of `encoder`, from weights made for `stored`: another grid, another table."""
    if not (isinstance(encoder, AnySizeBeit) and isinstance(stored, AnySizeBeit)):
        return {}
    new, old = encoder.patch_embed.grid_size, stored.patch_embed.grid_size
    return {rf"(rel_pos_bias|blocks\.\d+\.attn)\.{TABLE}": lambda table, _: resize_table(table, new, old)}
