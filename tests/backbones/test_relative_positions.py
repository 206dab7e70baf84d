"""Relative position bias tables: resized as BEiT does, laid out by hand, and a Beit that takes any size."""

import copy

import numpy as np
import pytest
import timm
import torch
from timm.layers import resize_rel_pos_bias_table

from backbones import ViTPyramid, build_encoder, encoder_flops, layer_decay_groups, load_encoder
from backbones import relative_positions as room
from backbones.relative_positions import relative_bias, resize_table
from engine.errors import UserError

SMALL = {"img_size": 64, "patch_size": 8, "embed_dim": 48, "depth": 4, "num_heads": 3}
SHARED = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}
KINDS = {
    "shared": SHARED,
    "per block": {},
    "absolute": {"use_rel_pos_bias": False, "use_abs_pos_emb": True},
    "shared and absolute": {**SHARED, "use_abs_pos_emb": True, "img_size": (64, 96)},
}
KEY = "rel_pos_bias.relative_position_bias_table"


def beit(**kwargs):
    return {"name": "beit_base_patch16_224", "kwargs": {**SMALL, **kwargs}}


def rows_of(grid):
    return (2 * grid[0] - 1) * (2 * grid[1] - 1) + 3


def random_table(grid, heads=3):
    return torch.randn(rows_of(grid), heads, generator=torch.Generator().manual_seed(1))


def flat(value):
    return [value] if isinstance(value, torch.Tensor) else [leaf for item in value for leaf in flat(item)]


def positions_by_hand(old, new):
    """Where BEiT puts the 2 old - 1 offsets: 0, 1, 1 + q, 1 + q + q^2, ... with q such that the last is new - 1."""
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        q = (low + high) / 2
        reach = (1 - q ** (old - 1)) / (1 - q)
        low, high = (low, q) if reach > new - 1 else (q, high)
    right = [sum(q**power for power in range(count)) for count in range(1, old)]
    return [-x for x in reversed(right)] + [0.0] + right


def resized_by_hand(table, new, old):
    """Linear interpolation of one axis after the other, head by head, in float64."""
    ys, xs = positions_by_hand(old[0], new[0]), positions_by_hand(old[1], new[1])
    heads = []
    for column in table[:-3].double().numpy().T:
        grid = column.reshape(2 * old[0] - 1, 2 * old[1] - 1)
        grid = np.array([np.interp(range(1 - new[1], new[1]), xs, row) for row in grid])
        grid = np.array([np.interp(range(1 - new[0], new[0]), ys, row) for row in grid.T]).T
        heads.append(grid.ravel())
    return torch.cat([torch.tensor(np.array(heads)).T.float(), table[-3:]])


@pytest.mark.parametrize(("old", "new"), [((8, 8), (8, 12)), ((14, 14), (20, 33)), ((8, 12), (5, 7)), ((3, 4), (9, 4))])
def test_offsets_are_interpolated_on_beits_grid_and_the_last_rows_kept(old, new):
    table = random_table(old)
    resized = resize_table(table, new, old)
    torch.testing.assert_close(resized, resized_by_hand(table, new, old), rtol=1e-4, atol=1e-4)
    timms = resize_rel_pos_bias_table(table, new, (rows_of(new), 3), old_window_size=old)
    torch.testing.assert_close(resized, timms, rtol=1e-6, atol=2e-6)
    assert torch.equal(resized[-3:], table[-3:])


def test_native_grid_is_the_same_tensor_and_another_of_as_many_rows_is_not():
    table = random_table((4, 8))
    assert resize_table(table, (4, 8), (4, 8)) is table
    turned = resize_table(table, (8, 4), (4, 8))
    assert turned.shape == table.shape and not torch.equal(turned, table)


def test_resizing_is_linear_so_its_gradient_is_its_transpose():
    table, direction = (random_table((8, 8)).mul(factor).requires_grad_() for factor in (1, 0.3))
    weight = random_table((5, 11))
    (resize_table(table, (5, 11), (8, 8)) * weight).sum().backward()
    expected = (resize_table(direction, (5, 11), (8, 8)) * weight).sum()
    torch.testing.assert_close((table.grad * direction).sum(), expected)
    assert torch.equal(table.grad[-3:], weight[-3:])


def test_resizing_is_exact_under_autocast_and_keeps_the_type():
    table = random_table((8, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = resize_table(table, (9, 9), (8, 8))
    assert torch.equal(inside, resize_table(table, (9, 9), (8, 8)))
    assert resize_table(table.bfloat16(), (9, 9), (8, 8)).dtype == torch.bfloat16


def test_the_cached_matrix_is_the_same_wherever_it_was_first_needed():
    table = random_table((6, 6))
    with torch.device("meta"), torch.inference_mode():
        first = resize_table(table, (7, 10), (6, 6))
    assert torch.equal(first, resize_table(table.requires_grad_(), (7, 10), (6, 6)))
    resize_table(table, (7, 10), (6, 6)).sum().backward()
    assert table.grad.abs().sum() > 0


def test_a_table_of_another_grid_is_refused():
    with pytest.raises(UserError, match="grid of 8 x 9 patches, which needs 258 rows"):
        resize_table(random_table((8, 8)), (4, 4), (8, 9))


def test_bias_from_row_to_column_by_hand():
    rows, columns = 3, 4
    table = random_table((rows, columns))
    bias = relative_bias(table, (rows, columns))
    assert bias.shape == (3, 13, 13)
    to_patch, to_class, itself = rows_of((rows, columns)) - torch.tensor([3, 2, 1])
    for q in range(13):
        for k in range(13):
            (r, c), (r2, c2) = divmod(q - 1, columns), divmod(k - 1, columns)
            place = (r - r2 + rows - 1) * (2 * columns - 1) + c - c2 + columns - 1
            if 0 in (q, k):
                place = itself if q == k else to_patch if q == 0 else to_class
            assert torch.equal(bias[:, q, k], table[place]), (q, k)


@pytest.fixture(params=KINDS)
def pair(request, randomised):
    """(ours, timm's own of the same weights), in evaluation mode."""
    encoder = beit(**KINDS[request.param])
    ours = randomised(**encoder).eval()
    theirs = timm.create_model(encoder["name"], num_classes=0, **encoder["kwargs"]).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@torch.no_grad()
def test_native_size_is_timms_bit_for_bit(pair):
    ours, theirs = pair
    image = torch.randn(2, 3, *ours.patch_embed.img_size)
    assert torch.equal(ours(image), theirs(image))
    for arguments in (
        {"indices": 2, "intermediates_only": True},
        {"indices": [-1, 1], "return_prefix_tokens": True, "norm": True, "intermediates_only": True},
        {"indices": [0, 2], "stop_early": True, "output_fmt": "NLC"},
        {},
    ):
        mine, timms = (encoder.forward_intermediates(image, **arguments) for encoder in pair)
        leaves, known = (flat(x) for x in (mine, timms))
        assert len(leaves) == len(known) and all(torch.equal(a, b) for a, b in zip(leaves, known, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("size", [(96, 40), (64, 64), (8, 8), (136, 160)])
def test_other_sizes_are_timms_after_resizing(pair, size):
    ours, theirs = pair
    theirs.set_input_size(img_size=size)
    image = torch.randn(1, 3, *size)
    torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)
    again = torch.randn(1, 3, *ours.patch_embed.img_size)
    assert torch.equal(ours(again), copy.deepcopy(ours)(again))  # nothing of the other size is left behind


def test_attention_without_the_fused_kernel_agrees(randomised):
    encoder = randomised(**beit()).eval()
    image = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        fused = encoder(image)
        for block in encoder.blocks:
            block.attn.fused_attn = False
        torch.testing.assert_close(encoder(image), fused)


@pytest.mark.parametrize("kind", ["shared", "per block"])
def test_training_at_other_sizes_trains_the_native_table(randomised, kind):
    """Also with recomputed activations, and two sizes before one backward pass."""
    encoder = randomised(**beit(**KINDS[kind]))
    images = [torch.randn(2, 3, 96, 64), torch.randn(2, 3, 40, 40)]
    gradients = []
    for recompute in (False, True):
        encoder.set_grad_checkpointing(recompute)
        encoder.zero_grad()
        sum(encoder(image).square().sum() for image in images).backward()
        gradients.append({n: p.grad.clone() for n, p in encoder.named_parameters() if n.endswith("bias_table")})
    assert len(gradients[0]) == (1 if kind == "shared" else 4)
    for name, gradient in gradients[0].items():
        assert gradient.shape == (rows_of((8, 8)), 3) and (gradient != 0).float().mean() > 0.9
        torch.testing.assert_close(gradient, gradients[1][name])


def test_a_shared_bias_is_laid_out_once(randomised, monkeypatch):
    calls = []
    monkeypatch.setattr(room, "relative_bias", lambda *a: calls.append(a[1]) or relative_bias(*a))
    randomised(**beit(**SHARED))(torch.zeros(1, 3, 64, 40))
    assert calls == [(8, 5)]
    randomised(**beit())(torch.zeros(1, 3, 64, 40))
    assert calls == [(8, 5)] * 5


def test_flops_need_no_weights_at_any_size():
    d, depth, n = 48, 4, 65
    expected = 2 * 64 * 192 * d + depth * (2 * n * d * 12 * d + 4 * n * n * d)
    assert encoder_flops(beit(**SHARED), (64, 64)) == expected
    assert encoder_flops(beit(), (96, 64)) > 1.4 * expected


@pytest.mark.parametrize("kind", ["shared", "per block", "shared and absolute"])
def test_loading_for_another_size_resizes_every_table(write, kind):
    folder, stored = write(beit(**KINDS[kind]))
    encoder, _, ledger = load_encoder(folder, img_size=(40, 72))
    tables = {n: p for n, p in encoder.named_parameters() if n.endswith("bias_table")}
    assert set(ledger.resized) - {"pos_embed"} == set(tables)
    for name, table in tables.items():
        native = stored.get_parameter(name).detach()
        expected = resized_by_hand(native, (5, 9), stored.patch_embed.grid_size)
        torch.testing.assert_close(table, expected, rtol=1e-4, atol=1e-4)
    image = torch.randn(1, 3, 40, 72)
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(image), stored.eval()(image), rtol=1e-4, atol=1e-5)


def test_fine_tuning_begins_with_equal_copies(write):
    folder, stored = write(beit(**SHARED))
    one, own = ViTPyramid(str(folder), unshare=False), ViTPyramid(str(folder))
    own.rescale.load_state_dict(one.rescale.state_dict())
    image = torch.randn(2, 3, 70, 101)
    with torch.no_grad():
        for shared, copied in zip(one.eval()(image), own.eval()(image), strict=True):
            torch.testing.assert_close(shared, copied)  # torch takes another kernel for a bias of four dimensions
    assert KEY in one.ledger.loaded and not one.ledger.new and not one.ledger.dropped
    # every key of the file and every key of the encoder is in the ledger
    assert set(own.ledger.loaded) | set(own.ledger.dropped) == set(stored.state_dict())
    assert list(own.ledger.dropped) == [KEY]
    copies = [f"blocks.{i}.attn.relative_position_bias_table" for i in range(4)]
    assert own.ledger.new == dict.fromkeys(copies, f"a copy of {KEY}")
    assert set(own.ledger.loaded) | set(copies) >= set(own.encoder.state_dict())
    # training parts them, and mmengine's start of training restores them
    own.train()
    sum(m.square().sum() for m in own(torch.randn(2, 3, 64, 96))).backward()
    tables = [own.encoder.get_parameter(name) for name in copies]
    assert not torch.equal(tables[0].grad, tables[1].grad)
    with torch.no_grad():
        for table in tables:
            table.zero_()
    own.init_weights()
    assert all(torch.equal(table, stored.get_parameter(KEY)) for table in tables)


def test_tables_of_blocks_are_taken_as_they_are(write):
    folder, stored = write(beit())
    pyramid = ViTPyramid(str(folder))
    assert not pyramid.ledger.new and set(pyramid.ledger.loaded) == set(stored.state_dict())
    both = ViTPyramid(str(write(beit(use_shared_rel_pos_bias=True), "both")[0]))
    assert KEY in both.ledger.loaded and not both.ledger.new


@pytest.mark.parametrize("unshare", [True, False])
def test_layer_decay_groups(write, unshare):
    pyramid = ViTPyramid(str(write(beit(**SHARED))[0]), unshare=unshare)
    scales, decays = {}, {}
    for group in layer_decay_groups(pyramid, 1e-3, 0.05, 0.5):
        scales |= dict.fromkeys(group["names"], group["lr_scale"])
        decays |= dict.fromkeys(group["names"], group["weight_decay"])
    found = {name: scales[name] for name in scales if name.endswith("bias_table")}
    copies = {f"encoder.blocks.{i}.attn.relative_position_bias_table": 0.5 ** (4 - i) for i in range(4)}
    assert found == (copies if unshare else {f"encoder.{KEY}": 0.5**5})
    assert {decays[name] for name in found} == {0.0}
    assert decays["encoder.blocks.0.attn.qkv.weight"] == 0.05


@pytest.mark.parametrize("unshare", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_of_the_adapter_gets_a_gradient(write, kind, unshare):
    pyramid = ViTPyramid(str(write(beit(**KINDS[kind]))[0]), unshare=unshare)
    sum((m * torch.randn_like(m)).sum() for m in pyramid(torch.randn(2, 3, 72, 64))).backward()
    assert [name for name, parameter in pyramid.named_parameters() if parameter.grad is None] == []


def test_other_encoders_are_left_alone():
    assert type(build_encoder("vit_tiny_patch16_224", {"depth": 1})) is timm.models.VisionTransformer
