"""MoCo v3: loss and gradients against float64 loops, the teacher's order and arithmetic, what stays at its start."""

import math
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from engine.errors import UserError
from engine.optim import SteadyOptimWrapper  # noqa: F401  registers it
from pretrain.methods.moco_v3 import MoCoV3
from pretrain.optim import DecayGroups
from study.configure import load_config
from tests.pretrain.samples import ENCODER

TAU = 0.2


def build(**kwargs):
    torch.manual_seed(0)
    return MoCoV3(encoder=ENCODER, hidden=20, dim=8, **kwargs)


def views(batch=6):
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(batch, 3, 32, 32, generator=generator) for name in ("image_1", "image_2")}


def total(losses):
    return sum(value for name, value in losses.items() if "loss" in name)


def contrast_by_loops(query, key):
    """2 tau / B sum_i -log(exp(cos_ii / tau) / sum_j exp(cos_ij / tau)), one pair at a time."""
    loss = 0
    for i in range(len(query)):
        weights = []
        for j in range(len(key)):
            cosine = sum(query[i] * key[j]) / (sum(query[i] ** 2).sqrt() * sum(key[j] ** 2).sqrt())
            weights.append((cosine / TAU).exp())
        loss = loss - (weights[i] / sum(weights)).log()
    return 2 * TAU * loss / len(query)


def head_by_hand(x, layers):
    """Linear layers without bias, BatchNorm by this batch's mean and biased variance, and ReLU, in float64."""
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            assert layer.bias is None
            x = x @ layer.weight.T
        elif isinstance(layer, torch.nn.ReLU):
            x = x * (x > 0)
        else:
            mean = sum(x) / len(x)
            variance = sum((row - mean) ** 2 for row in x) / len(x)
            x = (x - mean) / (variance + 1e-5).sqrt()
            x = x if layer.weight is None else x * layer.weight + layer.bias
    return x


def test_contrast_and_its_gradient_by_loops():
    torch.manual_seed(1)
    query, key = torch.randn(5, 4, dtype=torch.float64, requires_grad=True), torch.randn(5, 4, dtype=torch.float64)
    expected = contrast_by_loops(query, key)
    gradient = torch.autograd.grad(expected, query)[0]
    found = build().contrast(query, key)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(torch.autograd.grad(found, query)[0], gradient, rtol=1e-4, atol=1e-6)


def test_loss_and_gradients_of_the_heads_by_hand():
    model, inputs = build(), views()
    with torch.no_grad():  # a teacher that differs, and affine parts that are not 1 and 0
        for module in (model.projector[1], model.predictor[1], model.projector_teacher.module[4]):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.5, 0.5)
        model.teacher.module.norm.weight.uniform_(0.5, 1.5)
    losses = model(inputs=inputs)
    total(losses).backward()
    own = ("projector.", "predictor.")
    found = {name: p.grad.clone() for name, p in model.named_parameters() if name.startswith(own)}
    features = {name: model.encoder(image).detach().double() for name, image in inputs.items()}
    seen = {name: model.teacher.module(image).double() for name, image in inputs.items()}
    heads = [
        torch.nn.ModuleList(h).double() for h in (model.projector, model.predictor, model.projector_teacher.module)
    ]
    query = {name: head_by_hand(head_by_hand(x, heads[0]), heads[1]) for name, x in features.items()}
    key = {name: head_by_hand(x, heads[2]) for name, x in seen.items()}
    assert [len(heads[0]), len(heads[1])] == [8, 5] and not heads[0][7].affine and not heads[1][4].affine
    parts = contrast_by_loops(query["image_1"], key["image_2"]), contrast_by_loops(query["image_2"], key["image_1"])
    assert [float(losses[n].detach()) for n in ("loss_1_to_2", "loss_2_to_1")] == pytest.approx(
        [float(part.detach()) for part in parts], rel=1e-4
    )
    assert abs(float(parts[0].detach() - parts[1].detach())) > 1e-3  # else the directions could be swapped
    model.zero_grad()
    sum(parts).backward()
    assert len(found) == 3 + 4 + 2 + 2
    for name, gradient in found.items():
        expected = model.get_parameter(name).grad.float()
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=2e-5, msg=name)


def test_published_start():
    encoder = build().encoder
    width = encoder.embed_dim
    for block in encoder.blocks:
        for matrix in block.attn.qkv.weight.chunk(3):  # each a matrix of its own: bound sqrt(6 / (D + D))
            assert math.sqrt(6 / (4 * width)) < float(matrix.abs().max()) <= math.sqrt(6 / (2 * width))
        assert not block.attn.qkv.bias.any() and not block.mlp.fc1.bias.any()
    projection = encoder.patch_embed.proj
    bound = math.sqrt(6 / (3 * 8 * 8 + width))
    assert 0.95 * bound < float(projection.weight.abs().max()) <= bound and not projection.bias.any()
    assert 0 < float(encoder.cls_token.abs().max()) < 1e-5
    positions = encoder.pos_embed[0, 1:].view(4, 4, width)  # rows in the first half, columns in the second
    assert not encoder.pos_embed[0, 0].any()
    torch.testing.assert_close(positions[2, 0, : width // 2], positions[2, 3, : width // 2])
    torch.testing.assert_close(positions[0, 3, width // 2 :], positions[2, 3, width // 2 :])
    assert not torch.equal(positions[0, 0, : width // 2], positions[1, 0, : width // 2])


def test_patch_projection_and_positions_never_change():
    model = build(momentum=(0.5, 1.0))
    wrapper = DecayGroups(
        {"type": "SteadyOptimWrapper", "optimizer": {"type": "AdamW", "lr": 0.1, "weight_decay": 0.1}}
    )
    optimizer = wrapper(model)
    fixed = ("encoder.patch_embed.proj.weight", "encoder.patch_embed.proj.bias", "encoder.pos_embed")
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(3):
        optimizer.update_params(total(model(inputs=views())))
        model.after_step((step + 1) / 4)
    model.init_weights()  # the runner calls it
    for name in fixed:
        assert torch.equal(model.state_dict()[name], start[name]), name
        assert torch.equal(model.state_dict()[name.replace("encoder.", "teacher.module.")], start[name]), name
    for name in ("encoder.blocks.0.mlp.fc1.weight", "teacher.module.blocks.0.mlp.fc1.weight", "predictor.0.weight"):
        assert not torch.equal(model.state_dict()[name], start[name]), name


def test_teacher_gets_no_gradient_and_has_statistics_of_its_own():
    model = build().train()
    total(model(inputs=views())).backward()
    for name, parameter in model.named_parameters():
        if "teacher" in name:
            assert parameter.grad is None and not parameter.requires_grad, name
        elif parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    with torch.no_grad():
        model.encoder.norm.bias.add_(1.0)  # from here on the student's features differ
    model(inputs=views())
    own, other = model.projector_teacher.module[1], model.projector[1]
    assert int(own.num_batches_tracked) == int(other.num_batches_tracked) == 4  # two views, twice
    before = own.running_mean.clone()
    assert not torch.equal(before, other.running_mean)
    model.after_step(0.5)
    assert torch.equal(own.running_mean, before)  # parameters are averaged, statistics are not copied
    assert not any("predictor" in name for name in model.state_dict() if "teacher" in name)


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.25, None), (0.5, 0.95), (1.0, 1.0)])
def test_momentum(progress, momentum):
    model = build(momentum=(0.9, 1.0))
    momentum = momentum or 1 - 0.1 * (1 + math.cos(math.pi / 4)) / 2
    with torch.no_grad():
        model.encoder.norm.bias.fill_(1.0)
        model.projector[0].weight.add_(1.0)
    start = model.projector_teacher.module[0].weight.clone()
    model.after_step(progress)
    torch.testing.assert_close(model.teacher.module.norm.bias, torch.full((24,), 1 - momentum))
    torch.testing.assert_close(model.projector_teacher.module[0].weight, start + 1 - momentum)


def test_keys_are_those_of_the_published_order():
    """There, iteration i moves the teacher with m(i / n) between queries and keys; here each step ends with a move."""
    model, n = build(momentum=(0.6, 1.0)), 4
    student = model.encoder.norm.bias
    published = student.detach().clone()
    for i in range(n):
        momentum = 1 - 0.5 * (1 + math.cos(math.pi * i / n)) * 0.4
        published = momentum * published + (1 - momentum) * student.detach()
        model.before_step(i / n)
        torch.testing.assert_close(model.teacher.module.norm.bias, published)  # what this iteration's keys come from
        with torch.no_grad():
            student.add_(1.0 + i)  # the optimizer step
        model.after_step((i + 1) / n)
    assert float(published[0]) != 0


def test_state_dict_round_trip():
    model = build(momentum=(0.5, 0.5))
    with torch.no_grad():
        model.encoder.norm.bias.add_(1.0)
    model(inputs=views())
    model.after_step(0.5)
    other = MoCoV3(encoder=ENCODER, hidden=20, dim=8)
    other.load_state_dict(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert torch.equal(total(other(inputs=views())), total(model(inputs=views())))


def test_other_encoders_are_refused():
    with pytest.raises(UserError, match="'resnet18' has no patch projection.*choose a plain ViT"):
        MoCoV3(encoder={"name": "resnet18"})


def test_paper_recipe():
    from mmengine.registry import MODELS

    cfg = load_config("pretrain/configs/moco_v3.py", scale="paper")
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert [tuple(layer.weight.shape) for layer in model.projector[::3]] == [(4096, 768), (4096, 4096), (256, 4096)]
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(2.4e-3) and cfg.train_cfg.max_iters == 93835
    assert cfg.train_dataloader.batch_size == 4096 and cfg.optim_wrapper.clip_grad is None


def results(model, inputs):
    losses = model(inputs=inputs)
    total(losses).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**{name: value.detach() for name, value in losses.items()}, **gradients}


def worker(rank, port, folder):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = build()
    found = results(model, {name: image[4 * rank : 4 * rank + 4] for name, image in views(8).items()})
    for value in found.values():  # what data-parallel training does with gradients
        dist.all_reduce(value)
        value /= 2
    if rank == 0:
        torch.save([found, model.state_dict()], f"{folder}/found.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(worker, args=(port, str(tmp_path)), nprocs=2, start_method="fork")
    model = build()
    expected = results(model, views(8))
    found, state = torch.load(tmp_path / "found.pt", weights_only=True)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5, msg=name)
    for name, value in model.state_dict().items():  # the running statistics of student and teacher
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-6, msg=name)
