"""Blocks that are computed again, compiled or laid out with channels last give the numbers of blocks as they are."""

import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from backbones import blocks, build_encoder
from backbones.blocks import blocks_of, compile_blocks, put_channels_last, recompute_blocks
from engine.errors import UserError

ENCODERS = {
    "vit": ("vit_tiny_patch16_224", dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3,
                                         drop_path_rate=0.4, proj_drop_rate=0.3)),
    "beit": ("beit_base_patch16_224", dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3,
                                           drop_path_rate=0.4)),
    "swin": ("swin_tiny_patch4_window7_224", dict(img_size=56, embed_dim=12, depths=(2, 2), num_heads=(2, 2),
                                                  drop_path_rate=0.4)),
    "resnet": ("resnet10t", dict(drop_path_rate=0.4)),
    "mobilenet": ("mobilenetv2_035", dict(drop_path_rate=0.4)),
}  # fmt: skip


class Task(torch.nn.Module):
    """An encoder where a task's model has it."""

    def __init__(self, encoder):
        super().__init__()
        self.backbone = torch.nn.Module()
        self.backbone.encoder = encoder


def made(name):
    torch.manual_seed(0)
    return Task(build_encoder(ENCODERS[name][0], ENCODERS[name][1]).train())


def step(model, side):
    """Loss, gradients and buffers after two passes under one random state, and the bytes that autograd kept."""
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    encoder = model.backbone.encoder
    torch.manual_seed(1)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = [encoder(torch.randn(3, 3, side, side)).square().mean() for _ in range(2)]
    drawn = torch.rand(1)
    sum(losses).backward()
    parts = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    found = {f"loss {k}": loss.detach() for k, loss in enumerate(losses)} | {"drawn": drawn}
    found |= {f"grad of {name}": p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    return found | dict(encoder.named_buffers()), sum(parts.values())


def side_of(name):
    return {"vit": 32, "beit": 32, "swin": 56}.get(name, 64)


@pytest.mark.parametrize("name", ENCODERS)
def test_blocks_computed_again_give_the_same_bits_and_keep_less(name):
    model, other = made(name), made(name)
    recompute_blocks(other.backbone.encoder)
    assert [*model.state_dict()] == [*other.state_dict()]
    (whole, kept), (again, less) = step(model, side_of(name)), step(other, side_of(name))
    assert whole.keys() == again.keys() and sum(key.startswith("grad") for key in whole) > 10
    assert [key for key in whole if not torch.equal(whole[key], again[key])] == []
    assert less < 0.7 * kept, f"{less} of {kept} bytes"


def test_a_copy_of_such_a_block_runs_its_own_weights():
    model = made("vit")
    recompute_blocks(model.backbone.encoder)
    teacher = copy.deepcopy(model.backbone.encoder)
    for parameter in teacher.parameters():
        torch.nn.init.zeros_(parameter)
    assert not teacher(torch.randn(2, 3, 32, 32)).any()


def test_nothing_is_computed_again_where_no_gradient_is_asked_for(monkeypatch):
    model = made("vit")
    recompute_blocks(model.backbone.encoder)
    monkeypatch.setattr(blocks, "checkpoint", None)
    with torch.no_grad():
        model.backbone.encoder(torch.randn(2, 3, 32, 32))
    model.backbone.encoder.eval()(torch.randn(2, 3, 32, 32))


def test_compiled_blocks_keep_their_names_and_numbers(monkeypatch):
    """Through torch's own graphs, computed again for the gradient; what inductor makes of such graphs is torch's."""
    monkeypatch.setattr(blocks, "BACKEND", "aot_eager")
    name, kwargs = ENCODERS["vit"]
    kwargs = {key: value for key, value in kwargs.items() if "drop" not in key}  # compiled dropout draws other numbers
    monkeypatch.setitem(ENCODERS, "vit", (name, kwargs | {"depth": 2}))
    model, other = made("vit"), made("vit")
    recompute_blocks(other.backbone.encoder)
    compile_blocks(other.backbone.encoder)
    assert [*model.state_dict()] == [*other.state_dict()]
    (plain, kept), (compiled, less) = step(model, 32), step(other, 32)
    assert less < 0.7 * kept, "compiled blocks are run again too"
    for key, value in plain.items():
        torch.testing.assert_close(
            compiled[key], value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key} {text}"
        )


def test_without_a_compiler_it_is_a_sentence(monkeypatch):
    def missing(*_graph):
        raise FileNotFoundError("no such file: 'g++'")

    monkeypatch.setattr(blocks, "BACKEND", missing)
    with pytest.raises(
        UserError, match=r"--compile: torch.compile does not work here \(.*g\+\+.* install a C\+\+ comp"
    ):
        compile_blocks(made("vit").backbone.encoder)


def test_channels_last_gives_the_same_numbers_and_layout():
    model, other = made("resnet"), made("resnet")
    put_channels_last(other)
    weight = other.backbone.encoder.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    seen = []
    other.backbone.encoder.layer2.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    (plain, _), (laid, _) = step(model, 64), step(other, 64)
    assert seen[0].is_contiguous(memory_format=torch.channels_last), "what convolutions give is laid out so too"
    for key, value in plain.items():
        torch.testing.assert_close(laid[key], value, rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key} {text}")


def test_what_does_not_fit_an_encoder_is_refused():
    with pytest.raises(UserError, match="--channels-last: the blocks of VisionTransformer hold no convolutions"):
        put_channels_last(made("vit"))
    model = made("resnet")
    recompute_blocks(model.backbone.encoder)
    with pytest.raises(UserError, match="do not go together where blocks hold batch normalisation"):
        compile_blocks(model.backbone.encoder)
    with pytest.raises(UserError, match="Linear does not tell its blocks"):
        blocks_of(torch.nn.Linear(2, 2))
