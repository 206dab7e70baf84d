"""SLIP: NT-Xent against float64 loops with its gradients, CLIP's terms unchanged, two processes equal one."""

import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from pretrain.data.dataset import ImageTextShards, pretrain_collate
from pretrain.methods.clip import CLIP
from pretrain.methods.slip import SLIP, nt_xent
from study.configure import load_config
from tests.pretrain.processes import after_backward, on_two_processes
from tests.pretrain.samples import ENCODER


@pytest.fixture
def inputs(shards):
    views = {name: {"scale": (0.2, 1.0), "flip": 0.5} for name in ("image", "image_1", "image_2")}
    data = ImageTextShards(str(shards), 32, captions="aligned", context=16, views=views)
    np.random.seed(0)
    batch = pretrain_collate([data[i] for i in range(6)])["inputs"]
    return {name: batch[name].float() / 255 if name in views else batch[name] for name in (*views, "tokens")}


def build(text, **kwargs):
    torch.manual_seed(0)
    return SLIP(encoder=ENCODER, text=text, projector=(20, 10), **kwargs)


def by_loops(one, two, temperature):
    """Each of the 2N embeddings against the 2N - 1 others, one pair at a time; the partner is N places on."""
    rows = [*one, *two]
    rows = [row / row.square().sum().sqrt() for row in rows]
    n, total = len(one), 0.0
    for i in range(2 * n):
        others = sum(torch.exp(rows[i] @ rows[j] / temperature) for j in range(2 * n) if j != i)
        total = total - torch.log(torch.exp(rows[i] @ rows[(i + n) % (2 * n)] / temperature) / others)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_and_its_gradient_equal_loops(temperature):
    torch.manual_seed(0)
    one, two = (torch.randn(5, 7, dtype=torch.float64, requires_grad=True) for _ in range(2))
    slow = by_loops(one, two, temperature)
    expected = torch.autograd.grad(slow, (one, two))
    fast = nt_xent(one, two, temperature)
    found = torch.autograd.grad(fast, (one, two))
    assert float(fast) == pytest.approx(float(slow), rel=1e-5)
    for got, want in zip(found, expected, strict=True):
        assert want.abs().max() > 1e-3
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_nt_xent_of_known_embeddings():
    """Three images, both views equal and orthogonal to the rest: log(1 + 4 exp(-1 / t))."""
    views = 5.0 * torch.eye(3)
    assert float(nt_xent(views, views, 0.1)) == pytest.approx(math.log1p(4 * math.exp(-10)), abs=1e-6)
    assert float(nt_xent(views, views, 1.0)) == pytest.approx(math.log1p(4 * math.exp(-1)), rel=1e-5)


def test_losses_are_clips_and_the_weighted_simclr(text, inputs):
    model = build(text, simclr_weight=0.5, temperature=0.2)
    losses = model(inputs=inputs)
    assert set(losses) == {"loss_image", "loss_text", "loss_simclr", "logit_scale"}
    clip = CLIP(encoder=ENCODER, text=text)
    clip.load_state_dict({name: value for name, value in model.state_dict().items() if "projector" not in name})
    for name, value in clip(inputs=inputs).items():
        assert float(losses[name]) == float(value), name
    one, two = (model.projector(model.encoder(inputs[name])).detach().double() for name in ("image_1", "image_2"))
    assert float(losses["loss_simclr"]) == pytest.approx(0.5 * float(by_loops(one, two, 0.2)), rel=1e-5)


def test_what_each_term_teaches(text, inputs):
    """SimCLR never touches the text tower, CLIP's projection or the temperature; CLIP never the projector."""
    model = build(text)
    losses = model(inputs=inputs)
    losses["loss_simclr"].backward(retain_graph=True)
    for name, parameter in model.named_parameters():
        touched = name.startswith(("encoder", "projector"))
        assert (parameter.grad is not None) == touched, name
    assert all(p.grad.abs().sum() > 0 for p in (model.encoder.patch_embed.proj.weight, model.projector[6].weight))
    model.zero_grad()
    (losses["loss_image"] + losses["loss_text"]).backward()
    assert all((p.grad is None) == name.startswith("projector") for name, p in model.named_parameters())


def test_projector_is_slips(text):
    """Three layers with biases, BatchNorm and ReLU after the first two."""
    torch.manual_seed(0)
    layers = SLIP(encoder=ENCODER, text=text).projector
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Linear", "GlobalBatchNorm", "ReLU", "Linear", "GlobalBatchNorm", "ReLU", "Linear"]
    widths = [(layer.in_features, layer.out_features) for layer in layers[::3]]
    assert widths == [(24, 4096), (4096, 4096), (4096, 256)] and all(layer.bias is not None for layer in layers[::3])


def test_two_processes_equal_one(text, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # BatchNorm of so few rows magnifies rounding
    inputs = {name: value.double() if "image" in name else value for name, value in inputs.items()}

    def step(rows):
        model = build(text).double()
        return after_backward(model, model(inputs={name: value[rows] for name, value in inputs.items()}))

    found, expected = on_two_processes(step, 6, tmp_path), step(slice(None))
    assert found.keys() == expected.keys() and "projector.1.running_var" in found
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10, msg=lambda text, n=name: f"{n}: {text}")


def test_views_belong_to_the_same_image(shards):
    """With the whole image in every view, the three views and the file agree."""
    views = {name: {"scale": (1.0, 1.0), "ratio": (1.2, 1.2), "flip": 0.0} for name in ("image", "image_1", "image_2")}
    item = ImageTextShards(str(shards), 32, captions="aligned", context=16, views=views)[3]
    assert torch.equal(item["image"], item["image_1"]) and torch.equal(item["image"], item["image_2"])


@pytest.mark.parametrize("scale", ["tiny", "study", "paper"])
def test_config(scale, text):
    cfg = load_config("pretrain/configs/slip.py", scale=scale)
    views = cfg.train_dataloader.dataset.views
    assert set(views) == {"image", "image_1", "image_2"} and tuple(views.image_2.scale) == (0.08, 1.0)
    model = cfg.model.to_dict()
    if scale == "paper":
        assert cfg.train_dataloader.batch_size == 4096 and cfg.train_cfg.max_iters == 25 * 15_255_632 // 4096
        model["text"] |= {"layers": 1, "vocabulary": text["vocabulary"]}  # the rest of 150 million parameters is depth
        model["encoder"]["kwargs"]["depth"] = 1
    else:
        model["text"]["vocabulary"] = text["vocabulary"]
    built = MODELS.build(model)
    widths = [built.projector[0].in_features, built.projector[-1].out_features, built.text.embed_dim]
    assert widths == ([768, 256, 512] if scale == "paper" else [96, 64, 96])
    assert built.needs <= {*views, "tokens"}
