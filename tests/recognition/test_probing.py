"""Whole probes: a planted feature, an untouched encoder, determinism, and bad data."""

import copy
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
from recognition.probes import build_probe
from recognition.probing import fit, predict, probe, tokens

LINEAR = dict(kind="linear", optimizer="lars", lr=6.4, batch=32, epochs=30, warm_up=3)
ATTENTIVE = dict(kind="attentive", optimizer="sgd", lr=0.4, batch=32, epochs=30, warm_up=3)


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


@pytest.mark.parametrize("recipe", [LINEAR, ATTENTIVE], ids=["linear", "attentive"])
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
    measures, settings, pace = probe(data, {**LINEAR, "epochs": 2, "warm_up": 1}, features, seed=0)
    assert [m.name for m in measures] == ["top1", "mean_per_class"]
    assert settings == {"lr": 6.4, "iterations": 2, "batch_size": 32, "train_images": 48} and pace > 0
    assert set(modes) == {False}
    assert all(torch.equal(value, before[key]) for key, value in features.model.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in features.model.parameters())


@pytest.mark.parametrize("recipe", [LINEAR, ATTENTIVE], ids=["linear", "attentive"])
def test_a_seed_decides_everything(data, mae, recipe):
    recipe = {**recipe, "batch": 64, "epochs": 3, "warm_up": 1}  # more than the 48 images there are
    features, found = Features(mae), []
    for seed in (0, 0):
        torch.rand(seed + 3)  # what was drawn before must not matter
        measures, settings, _ = probe(data, recipe, features, seed)
        found.append([(m.name, m.value, m.low, m.high, m.chance) for m in measures])
    assert found[0] == found[1] and settings["batch_size"] == 48 and settings["iterations"] == 3


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


def test_features_that_are_not_finite_are_one_sentence(data, mae):
    features = Features(mae)
    with torch.no_grad():
        features.model.norm.bias[0] = torch.nan
    for recipe in (LINEAR, ATTENTIVE):
        with pytest.raises(UserError, match="the mae checkpoint gives features that are not finite"):
            probe(data, recipe, features, 0)


def test_bad_data(mae):
    with pytest.raises(UserError, match="linear probe needs data of kind 'image_folder', not 'coco'"):
        probe({"kind": "coco"}, LINEAR, Features(mae), 0)


@pytest.mark.parametrize("kind", ["linear", "attentive"])
def test_the_configs_state_a_whole_recipe(kind):
    cfg = Config.fromfile(f"recognition/configs/{kind}_probe.py")
    recipes = [cfg.at_scale[scale].probe for scale in ("tiny", "study")]
    assert all(set(recipe) == set(LINEAR) and recipe.kind == kind for recipe in recipes)
    assert cfg.task == f"{kind}_probe"
