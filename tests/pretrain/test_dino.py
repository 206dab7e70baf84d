"""DINO: loss and gradients against float64 loops, centre, teacher, frozen layer, weight decay, encoders it takes."""

import copy
import math
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.registry import PARAM_SCHEDULERS

from engine.errors import UserError
from engine.optim import SteadyOptimWrapper  # noqa: F401  registers it
from pretrain.methods.dino import DINO, code_loss
from pretrain.optim import DecayGroups
from study.configure import load_config
from tests.pretrain.samples import ENCODER

HEAD = {"hidden": 16, "bottleneck": 8, "codes": 12}
LOSS = "loss_code"


def build(encoder=ENCODER, **kwargs):
    torch.manual_seed(0)
    return DINO(encoder=encoder, head=HEAD, **kwargs)


def crops(batch=3, local=3):
    generator = torch.Generator().manual_seed(7)
    made = {name: torch.randn(batch, 3, 32, 32, generator=generator) for name in ("image_1", "image_2")}
    return made | {"image_local": torch.randn(batch, local, 3, 16, 16, generator=generator)}


def softmax(x):
    weights = (x - x.max()).exp()
    return weights / weights.sum()


def loss_by_loops(student, teacher, centre, sharp, soft=0.1):
    """Scores student[v][b], teacher[q][b] [K]: one pair of views and one image at a time."""
    terms = []
    for q in range(2):
        for v in range(len(student)):
            if v != q:
                for b in range(len(student[v])):
                    code = softmax((teacher[q][b] - centre) / sharp)
                    terms.append(-(code * softmax(student[v][b] / soft).log()).sum())
    return sum(terms) / len(terms)


def head_by_hand(x, head):
    """Three layers with the exact GELU between, unit length, then cosines with unit prototypes."""
    for step, layer in enumerate(head.mlp[::2]):
        x = x @ layer.weight.T + layer.bias
        x = x if step == 2 else x * (1 + torch.erf(x / 2**0.5)) / 2
    rows = head.prototypes / (head.prototypes**2).sum(dim=1, keepdim=True).sqrt()
    return (x / (x**2).sum(dim=1, keepdim=True).sqrt()) @ rows.T


@pytest.mark.parametrize("local", [0, 1, 4])
def test_code_loss_and_its_gradient_by_loops(local):
    torch.manual_seed(1)
    scores = torch.randn(2 + local, 3, 5, dtype=torch.float64, requires_grad=True)
    seen, centre = torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    expected = loss_by_loops(scores, seen, centre, 0.05)
    found = code_loss(scores / 0.1, ((seen - centre) / 0.05).softmax(dim=-1))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    both = [torch.autograd.grad(loss, scores)[0] for loss in (found, expected)]
    torch.testing.assert_close(*both, rtol=1e-9, atol=1e-12)


def test_loss_centre_and_gradients_of_the_head_by_hand():
    model, inputs = build(teacher_warmup=0.2), crops()
    with torch.no_grad():
        model.teacher.module.norm.weight.uniform_(0.5, 1.5)
        model.head_teacher.module.prototypes.uniform_(-1, 1)
        model.centre.value.copy_(torch.linspace(-0.3, 0.3, 12))
    old = model.centre.value.clone().double()
    model.before_step(0.1)  # half of the warm-up: 0.055
    loss = model(inputs=inputs)[LOSS]
    loss.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.head.named_parameters()}
    images = [inputs["image_1"], inputs["image_2"], *inputs["image_local"].unbind(dim=1)]
    features = [model.encoder(image).detach().double() for image in images]
    head, teacher = copy.deepcopy(model.head).double(), model.head_teacher.module.double()
    head.zero_grad()
    seen = [head_by_hand(model.teacher.module(image).double(), teacher) for image in images[:2]]
    expected = loss_by_loops([head_by_hand(x, head) for x in features], seen, old, 0.055)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    expected.backward()
    assert len(found) == 7
    for name, gradient in found.items():
        grad = head.get_parameter(name).grad.float()
        torch.testing.assert_close(gradient, grad, rtol=1e-3, atol=1e-6 + 1e-4 * float(grad.abs().max()), msg=name)
    mean = sum(row for view in seen for row in view) / 6  # the centre moved after the loss had used the old one
    torch.testing.assert_close(model.centre.value.double(), 0.9 * old + 0.1 * mean, rtol=0, atol=1e-6)


def test_one_pass_for_each_size_and_global_views_only_for_the_teacher():
    model, shapes = build(), {"student": [], "teacher": []}
    for name, encoder in (("student", model.encoder), ("teacher", model.teacher.module)):
        encoder.register_forward_pre_hook(lambda _, args, name=name: shapes[name].append(tuple(args[0].shape)))
    model(inputs=crops())
    assert shapes == {"student": [(6, 3, 32, 32), (9, 3, 16, 16)], "teacher": [(6, 3, 32, 32)]}
    without = crops()
    del without["image_local"]
    assert torch.isfinite(model(inputs=without)[LOSS])
    assert shapes["student"][2:] == [(6, 3, 32, 32)]


def test_gradients_reach_the_student_only():
    model = build()
    model(inputs=crops())[LOSS].backward()
    for name, parameter in model.named_parameters():
        if "teacher" in name:
            assert parameter.grad is None and not parameter.requires_grad, name
        else:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert not model.centre.value.requires_grad and not any("centre" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_momentum(progress, momentum):
    model = build(momentum=(0.9, 1.0))
    with torch.no_grad():
        model.encoder.norm.bias.fill_(1.0)
        model.head.prototypes.add_(1.0)
    start = model.head_teacher.module.prototypes.clone()
    model.after_step(progress)
    torch.testing.assert_close(model.teacher.module.norm.bias, torch.full((24,), 1 - momentum))
    torch.testing.assert_close(model.head_teacher.module.prototypes, start + 1 - momentum)


def test_teacher_temperature():
    model, found = build(teacher_warmup=0.4), []
    for progress in (0.0, 0.1, 0.2, 0.4, 0.9):
        model.before_step(progress)
        found.append(model.teacher_temperature_now())
    assert found == pytest.approx([0.04, 0.0475, 0.055, 0.07, 0.07])
    assert build(teacher_warmup=0).teacher_temperature_now() == 0.07


def test_last_layer_stays_at_first():
    model = build(freeze_last=0.5, momentum=(0.5, 1.0))
    wrapper = {"type": "SteadyOptimWrapper", "optimizer": {"type": "AdamW", "lr": 0.01, "weight_decay": 0.4}}
    optimizer = DecayGroups({**wrapper, "clip_grad": {"max_norm": 3.0}})(model)
    start, first = model.head.prototypes.detach().clone(), model.head.mlp[0].weight.detach().clone()
    for step in range(4):
        model.before_step(step / 4)
        optimizer.frozen = model.frozen_now()
        optimizer.update_params(model(inputs=crops())[LOSS])
        model.after_step((step + 1) / 4)
        same = [torch.equal(head.prototypes, start) for head in (model.head, model.head_teacher.module)]
        assert same == [step < 2] * 2, step
        assert not torch.equal(model.head.mlp[0].weight, first)


def optimizer_and_schedules(model, cfg):
    settings = {**cfg.optim_wrapper.to_dict()}
    settings.pop("constructor")
    optimizer = DecayGroups(settings, settings.pop("paramwise_cfg"))(model)
    schedules = [PARAM_SCHEDULERS.build({**s, "optimizer": optimizer}) for s in cfg.param_scheduler]
    return optimizer, schedules


def run(optimizer, schedules, steps):
    """(decay, no decay) of each iteration, as mmengine's hook moves them after it."""
    seen = []
    for _ in range(steps):
        seen.append(tuple(group["weight_decay"] for group in optimizer.optimizer.param_groups))
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return seen


def test_weight_decay_grows_by_half_a_cosine_and_resumes_exactly():
    n = 40
    cfg = load_config("pretrain/configs/dino.py", options={"train_cfg.max_iters": n})
    straight = run(*optimizer_and_schedules(build(), cfg), n)
    expected = [0.4 + (0.04 - 0.4) * (1 + math.cos(math.pi * i / n)) / 2 for i in range(n)]
    assert [decay for decay, _ in straight] == pytest.approx(expected)
    assert [straight[i][0] for i in (0, n // 2, n - 1)] == pytest.approx([0.04, 0.22, 0.4], abs=1e-3)
    assert {free for _, free in straight} == {0.0}
    optimizer, schedules = optimizer_and_schedules(build(), cfg)
    seen = run(optimizer, schedules, 17)
    saved = copy.deepcopy([optimizer.state_dict(), [schedule.state_dict() for schedule in schedules]])
    optimizer, schedules = optimizer_and_schedules(build(), cfg)
    optimizer.load_state_dict(saved[0])
    for schedule, state in zip(schedules, saved[1], strict=True):
        schedule.load_state_dict(state)
    assert seen + run(optimizer, schedules, n - 17) == straight


def test_state_dict_round_trip():
    model = build(momentum=(0.5, 0.5))
    with torch.no_grad():
        model.encoder.norm.bias.add_(1.0)
    model(inputs=crops())
    model.after_step(0.5)
    other = DINO(encoder=ENCODER, head=HEAD)
    other.load_state_dict(model.state_dict())
    assert model.centre.value.abs().sum() > 0 and "centre.value" in model.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert torch.equal(other(inputs=crops())[LOSS], model(inputs=crops())[LOSS])


def test_the_prototypes_of_an_older_state_load():
    """0.2.0 kept `head.prototypes`, and normalised them by F.normalize."""
    model = build()
    old = model.state_dict()
    for head in ("head", "head_teacher.module"):
        old[f"{head}.prototypes"] = old.pop(f"{head}.last.parametrizations.weight.original1") + 1
    other = build()
    assert other.load_state_dict(old) == ([], [])
    assert torch.equal(other.head.prototypes, old["head.prototypes"])
    features = torch.randn(5, 24)
    directions = torch.nn.functional.normalize(other.head.mlp(features), dim=-1)
    expected = directions @ torch.nn.functional.normalize(old["head.prototypes"], dim=-1).T
    torch.testing.assert_close(other.head(features), expected, rtol=0, atol=1e-6)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({name: value for name, value in old.items() if "prototypes" not in name})


def test_a_convolutional_encoder_and_its_teachers_statistics():
    model = build(encoder={"name": "resnet18"}).train()
    assert model.head.mlp[0].in_features == 512
    inputs = {name: torch.nn.functional.interpolate(image, scale_factor=2) for name, image in crops(2, 2).items() if
              name != "image_local"}  # fmt: skip
    loss = model(inputs={**inputs, "image_local": torch.randn(2, 2, 3, 32, 32)})[LOSS]
    loss.backward()
    assert model.encoder.conv1.weight.grad.abs().sum() > 0
    teacher, student = model.teacher.module.bn1, model.encoder.bn1
    assert int(teacher.num_batches_tracked) == 1 and int(student.num_batches_tracked) == 2
    before = teacher.running_mean.clone()
    model.after_step(0.5)
    assert torch.equal(teacher.running_mean, before) and not torch.equal(before, student.running_mean)


def test_an_encoder_of_one_size_is_refused():
    mixer = {"name": "mixer_s32_224", "kwargs": {"img_size": 64}}
    with pytest.raises(UserError, match="'mixer_s32_224' takes images of one size only.*choose a plain ViT"):
        build(encoder=mixer)


def test_paper_recipe():
    from mmengine.registry import MODELS

    cfg = load_config("pretrain/configs/dino.py", scale="paper")
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert model.head.prototypes.shape == (65536, 256) and model.head.mlp[0].weight.shape == (2048, 768)
    assert model.encoder.blocks[-1].drop_path1.drop_prob == pytest.approx(0.1)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(3e-3) and cfg.train_cfg.max_iters == 500455
    assert cfg.param_scheduler[2].end == 500455 and cfg.train_dataloader.batch_size == 1024
    assert cfg.train_dataloader.dataset.views.image_local.count == 10


def results(model, inputs):
    loss = model(inputs=inputs)[LOSS]
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters() if p.grad is not None}}


def worker(rank, port, folder):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = build()
    found = results(model, {name: image[2 * rank : 2 * rank + 2] for name, image in crops(4).items()})
    for value in found.values():  # what data-parallel training does with gradients
        dist.all_reduce(value)
        value /= 2
    torch.save([found, model.state_dict()], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(worker, args=(port, str(tmp_path)), nprocs=2, start_method="fork")
    model = build()
    expected = results(model, crops(4))
    for rank in range(2):  # both hold the same centre
        found, state = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5, msg=name)
        torch.testing.assert_close(state["centre.value"], model.centre.value, rtol=1e-4, atol=1e-7)
