"""One policy of resizing positions, against an interpolation written out here."""

import pytest
import torch
from torch.nn import functional

from backbones import build_encoder, load_encoder, resize_positions
from backbones.positions import position_layout
from engine.errors import UserError


def by_hand(table, old, new, prefix):
    grid = table[0, prefix:].T.reshape(1, -1, *old)
    grid = functional.interpolate(grid, size=new, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([table[:, :prefix], grid.flatten(2).mT], dim=1)


@pytest.mark.parametrize("new", [(4, 4), (16, 16), (6, 11), (8, 5)])
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_grid_is_interpolated_and_prefix_kept(new, prefix):
    table = torch.randn(1, prefix + 64, 12)
    resized = resize_positions(table, new, (8, 8), prefix)
    assert torch.equal(resized[:, :prefix], table[:, :prefix])
    torch.testing.assert_close(resized, by_hand(table, (8, 8), new, prefix))


def test_native_grid_is_the_same_tensor():
    table = torch.randn(1, 65, 12)
    assert resize_positions(table, (8, 8), (8, 8), 1) is table


def test_equal_count_on_another_grid_is_resized():
    table = torch.randn(1, 65, 12)
    torch.testing.assert_close(resize_positions(table, (4, 16), (8, 8), 1), by_hand(table, (8, 8), (4, 16), 1))


def test_rows_and_columns_are_not_exchanged():
    rows = torch.arange(8.0).reshape(1, 8, 1, 1).expand(1, 8, 8, 1).reshape(1, 64, 1)
    resized = resize_positions(rows, (8, 4), (8, 8), 0).reshape(8, 4)
    torch.testing.assert_close(resized, torch.arange(8.0)[:, None].expand(8, 4))


def test_a_table_of_another_size_is_refused():
    with pytest.raises(UserError, match="8 x 8 grid with 1 prefix"):
        resize_positions(torch.zeros(1, 64, 12), (4, 4), (8, 8), 1)


def test_layouts_of_encoders():
    kwargs = {"img_size": (64, 96), "patch_size": 8, "depth": 1}
    assert position_layout(build_encoder("vit_tiny_patch16_224", kwargs)) == ((8, 12), 1)
    assert position_layout(build_encoder("deit3_small_patch16_224", {"depth": 1})) == ((14, 14), 0)
    assert position_layout(build_encoder("resnet18")) is None


def test_loading_for_another_size_resizes_the_stored_table(write):
    folder, stored = write()
    encoder, _, ledger = load_encoder(folder, img_size=(96, 48))
    assert ledger.resized == {"pos_embed": ((1, 65, 96), (1, 73, 96))}
    torch.testing.assert_close(encoder.pos_embed, by_hand(stored.pos_embed, (8, 8), (12, 6), 1))


def test_a_stored_table_is_used_not_regenerated(write):
    """No formula knows the random table of this file."""
    folder, stored = write()
    assert torch.equal(load_encoder(folder)[0].pos_embed, stored.pos_embed)
