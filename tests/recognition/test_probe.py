"""Probes: layers, optimizer and schedule against plain float64 computations; a planted feature; whole probes."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from backbones import load_encoder
from backbones.towers import Features
from datasets.images import read_rgb
from engine.errors import UserError
from recognition.feature_store import compute
from recognition.probe import (
    AttentiveProbe,
    LinearProbe,
    batches,
    build_optimizer,
    build_probe,
    fit,
    predict,
    rate,
    run,
    tokens,
)

LINEAR = dict(kind="linear", optimizer="lars", lr=6.4, batch=32, epochs=30, warm_up=3)
ATTENTIVE = dict(kind="attentive", optimizer="sgd", lr=0.4, batch=32, epochs=30, warm_up=3)
BOTH = pytest.mark.parametrize("recipe", [LINEAR, ATTENTIVE], ids=["linear", "attentive"])


def test_batch_norm_without_affine_by_loops():
    torch.manual_seed(0)
    probe = LinearProbe(5, 3)
    assert [name for name, _ in probe.named_parameters()] == ["linear.weight", "linear.bias"]
    assert probe.linear.weight.abs().max() < 0.05 and probe.linear.bias.abs().max() == 0
    rows = torch.randn(7, 5) * torch.tensor([1e-3, 1.0, 2.0, 3.0, 4.0]) + 2
    found = probe(rows).detach().double().numpy()
    x, weight = rows.double().numpy(), probe.linear.weight.detach().double().numpy()
    expected, running = np.zeros((7, 3)), np.zeros((2, 5))
    for d in range(5):
        mean = sum(x[:, d]) / 7
        variance = sum((value - mean) ** 2 for value in x[:, d]) / 7
        running[:, d] = 0.1 * mean, 0.9 + 0.1 * variance * 7 / 6
        for k in range(7):
            expected[k] += weight[:, d] * (x[k, d] - mean) / math.sqrt(variance + 1e-6)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(probe.norm.running_mean.double(), running[0], rtol=1e-6)
    # in evaluation mode the running statistics, whatever the batch
    found = probe.eval()(rows[:1]).detach().double().numpy()[0]
    expected = weight @ ((x[0] - running[0]) / np.sqrt(running[1] + 1e-6))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def layer_norm(row, gain, shift):
    return (row - row.mean()) / np.sqrt(((row - row.mean()) ** 2).mean() + 1e-6) * gain + shift


def test_the_attentive_probe_by_loops():
    """As published: tokens projected to keys and values one by one, softmax over them, heads one by one."""
    torch.manual_seed(1)
    probe = AttentiveProbe(96, 4).double()
    assert probe.heads == 3
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    tokens = 3 * torch.randn(5, 6, 96, dtype=torch.float64) + 1
    found = probe.attend(torch.nn.functional.layer_norm(tokens, (96,), eps=1e-6)).detach().numpy()
    p = {name: value.detach().numpy() for name, value in probe.named_parameters()}
    normed = layer_norm(p["query"], p["norm_query.weight"], p["norm_query.bias"])
    query = p["to_query.weight"] @ normed + p["to_query.bias"]
    for image in range(5):
        # a shift of the keys' norm, as published code has, changes nothing: here one is drawn
        keys = [p["to_key.weight"] @ layer_norm(t, p["key_gain"], 0.7) for t in tokens[image].numpy()]
        values = [p["to_value.weight"] @ layer_norm(t, p["value_gain"], p["value_shift"]) + p["to_value.bias"]
                  for t in tokens[image].numpy()]  # fmt: skip
        seen = []
        for head in (slice(0, 32), slice(32, 64), slice(64, 96)):
            scores = np.array([query[head] @ key[head] / math.sqrt(32) for key in keys])
            shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            assert shares.max() > 0.3, "attention that is not uniform"
            seen.append(sum(s * value[head] for s, value in zip(shares, values, strict=True)))
        expected = p["project.weight"] @ np.concatenate(seen) + p["project.bias"]
        np.testing.assert_allclose(found[image], expected, rtol=1e-6, atol=1e-5)


def test_every_parameter_of_the_attentive_probe_learns():
    torch.manual_seed(2)
    probe = AttentiveProbe(48, 3)
    optimizer = torch.optim.SGD(probe.parameters(), 0.1)
    for _ in range(3):  # the query starts at 0, so that at first nothing but biases moves it
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(probe(torch.randn(8, 5, 48).half()), torch.arange(8) % 3).backward()
        optimizer.step()
    assert [name for name, p in probe.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_lars_by_hand():
    """MAE's: 0.001 |w| / |g| for matrices, none for biases, momentum 0.9 of the scaled gradients."""
    torch.manual_seed(3)
    layer = torch.nn.Linear(4, 3).double()
    with torch.no_grad():
        layer.bias.mul_(5)
    optimizer = build_optimizer("lars", layer.parameters(), lr=99.0)
    plain = {name: p.detach().numpy().copy() for name, p in layer.named_parameters()}
    momentum = {name: np.zeros_like(value) for name, value in plain.items()}
    for step in range(4):
        for group in optimizer.param_groups:
            group["lr"] = 2.0 + step
        gradients = {name: torch.randn_like(p) for name, p in layer.named_parameters()}
        if step == 2:
            gradients["weight"].zero_()  # no gradient, no ratio
        for name, p in layer.named_parameters():
            p.grad = gradients[name].clone()
            g = gradients[name].numpy()
            norm = math.sqrt((g**2).sum())
            if name == "weight" and norm > 0:
                g = g * 0.001 * math.sqrt((plain[name] ** 2).sum()) / norm
            momentum[name] = 0.9 * momentum[name] + g
            plain[name] = plain[name] - (2.0 + step) * momentum[name]
        optimizer.step()
        for name, p in layer.named_parameters():
            np.testing.assert_allclose(p.detach().numpy(), plain[name], rtol=1e-9)


def test_sgd_is_one_group_without_decay():
    optimizer = build_optimizer("sgd", torch.nn.Linear(2, 2).parameters(), 0.4)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["weight_decay"], group["lr"], len(group["params"])) == (0.9, 0, 0.4, 2)


def test_the_rate_rises_for_ten_of_ninety_epochs_and_falls_to_zero():
    warm_up = 10 / 90
    assert rate(0.0, warm_up) == 0
    assert rate(5 / 90, warm_up) == pytest.approx(0.5)
    assert rate(10 / 90, warm_up) == pytest.approx(1)
    assert rate(50 / 90, warm_up) == pytest.approx(0.5)
    assert rate(1.0, warm_up) == pytest.approx(0)


def test_batches_hold_every_image_once_an_epoch_but_the_last_few():
    generator = torch.Generator().manual_seed(0)
    drawn = list(batches(10, 4, 3, generator))
    assert [len(batch) for batch in drawn] == [4] * 6
    for epoch in range(3):
        seen = torch.cat(drawn[2 * epoch : 2 * epoch + 2]).tolist()
        assert len(set(seen)) == 8
    assert drawn[0].tolist() != drawn[2].tolist()


def test_kinds():
    features = torch.randn(4, 48)
    plain = build_probe("plain", 48, 3)
    torch.testing.assert_close(plain(features), features @ plain.linear.weight.T)
    with pytest.raises(UserError, match="no probe of kind 'mlp': choose one of linear, plain, attentive"):
        build_probe("mlp", 48, 3)
    with pytest.raises(UserError, match="'lars' or 'sgd', not 'adam'"):
        build_optimizer("adam", plain.parameters(), 1.0)


def asked(data, recipe, seed=0):
    """The configuration of a probe."""
    return Config(dict(data=data, probe=recipe, seed=seed))


def planted(kind, strength, seed=0):
    """Features of 256 images of which one direction (of one token in five, where there are tokens) names the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (256,), generator=generator)
    signs = torch.eye(4).repeat(1, 12)[labels]  # [256, 48]
    if kind == "linear":
        return strength * signs + torch.randn(256, 48, generator=generator), labels
    tokens = torch.randn(256, 5, 48, generator=generator)
    tokens[torch.arange(256), torch.randint(5, (256,), generator=generator)] += strength * signs
    return tokens.half(), labels


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data section of three classes: noise with a grey level of the class, 16 training and 3 test images of each."""
    root, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 3)):
        for number, name in enumerate("abc"):
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                image = np.clip(rng.normal(60 + 60 * number, 40, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(image).save(root / split / name / f"{k}.png")
    return dict(name="levels", kind="image_folder", root=str(root), train=f"{root}/train", test=f"{root}/test")


@BOTH
def test_a_planted_feature_ranks_above_noise(recipe):
    found = {}
    for strength in (0, 6):
        features, labels = planted(recipe["kind"], strength)
        torch.manual_seed(0)
        head = build_probe(recipe["kind"], 48, 4)
        assert fit(head, features[:192], labels[:192], recipe, seed=0) > 0
        nearest = predict(head, features[192:], 2)
        assert nearest.shape == (64, 2)
        found[strength] = float((nearest[:, 0] == labels[192:]).float().mean())
    assert found[0] < 0.4 and found[6] > 0.7


def test_the_encoder_stays_as_it_is(data, mae):
    features = Features(mae)
    before = copy.deepcopy(features.model.state_dict())
    modes = []
    features.model.register_forward_hook(lambda module, *_: modes.append(module.training))
    found = run(asked(data, {**LINEAR, "epochs": 2, "warm_up": 1}), features)
    assert [m.name for m in found.measures] == ["top1", "mean_per_class"]
    assert found.settings == {"lr": 6.4, "iterations": 2, "global_batch": 32, "train_images": 48} and found.pace > 0
    assert set(modes) == {False}
    assert all(torch.equal(value, before[key]) for key, value in features.model.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in features.model.parameters())


@BOTH
def test_a_seed_decides_everything(data, mae, recipe):
    recipe = {**recipe, "batch": 64, "epochs": 3, "warm_up": 1}  # more than the 48 images there are
    features, found = Features(mae), []
    for seed in (0, 0):
        torch.rand(seed + 3)  # what was drawn before must not matter
        found.append(run(asked(data, recipe, seed), features))
    assert found[0].measures == found[1].measures
    assert found[0].settings == {"lr": recipe["lr"], "iterations": 3, "global_batch": 48, "train_images": 48}


def test_features_are_those_of_the_encoder(data, mae):
    files = sorted(Path(data["test"]).glob("*/*.png"))[:3]
    encoder, meta, _ = load_encoder(mae)
    mean, std = (torch.tensor(meta["image"][name]) for name in ("mean", "std"))
    sharp = torch.from_numpy(np.stack([read_rgb(path) for path in files]))
    features = Features(mae, batch=2)
    with torch.no_grad():
        expected = encoder.eval().forward_features(((sharp / 255 - mean) / std).permute(0, 3, 1, 2))
    torch.testing.assert_close(compute(features, files), encoder.forward_head(expected))
    rows = expected.double()
    rows = (rows - rows.mean(-1, keepdim=True)) / (rows.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    found = tokens(features, files)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.double(), rows, atol=2e-3, rtol=1e-3)


def test_a_loss_that_is_not_finite_is_one_sentence():
    features, labels = planted("linear", 1.0)
    features[3, 4] = torch.inf
    with pytest.raises(UserError, match=r"linear probe's loss is not finite: lower probe.lr \(now 6.4\)"):
        fit(build_probe("linear", 48, 4), features, labels, LINEAR, seed=0)


@BOTH
def test_features_that_are_not_finite_are_one_sentence(data, mae, recipe):
    features = Features(mae)
    with torch.no_grad():
        features.model.norm.bias[0] = torch.nan
    with pytest.raises(UserError, match="the mae checkpoint gives features that are not finite"):
        run(asked(data, recipe), features)


def test_bad_data(mae):
    with pytest.raises(UserError, match="linear probe needs data of kind 'image_folder', not 'coco'"):
        run(asked({"kind": "coco"}, LINEAR), Features(mae))


@BOTH
def test_the_configs_state_a_whole_recipe(recipe):
    kind = recipe["kind"]
    cfg = Config.fromfile(f"recognition/configs/{kind}_probe.py")
    recipes = [cfg.at_scale[scale].probe for scale in ("tiny", "study")]
    assert all(set(stated) == set(recipe) and stated.kind == kind for stated in recipes)
    assert cfg.task == f"{kind}_probe"
