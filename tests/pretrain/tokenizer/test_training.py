"""The suite's own dVAE: its losses by loops, its start, and that it is trained once, whole and repeatably."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import UserError
from pretrain.tokenizer.dvae import DVAE, map_pixels
from pretrain.tokenizer.load import build_tokenizer
from pretrain.tokenizer.training import Recipe, ensure_dvae, fill_tokenizer, is_whole, load_images, train
from tests.pretrain.samples import make_sample

SMALL = dict(type="dvae", vocabulary=16, width=4, steps=4, batch=4, crop=16, images=20)
VIEWS = {"image": {"scale": (0.5, 1.0)}, "pixels": {"of": "image", "size": 16}}


def dataset(shards, **kwargs):
    return (
        dict(type="ImageTextShards", root=str(shards), size=32, pattern="*.tar", captions="noisy", views=VIEWS) | kwargs
    )


def test_wrong_settings_are_refused(shards):
    with pytest.raises(UserError, match="model.tokenizer has no 'vocabularies': it takes type, file, vocabulary"):
        Recipe.of(dict(type="dvae", vocabularies=3))
    with pytest.raises(UserError, match="width 6 must be a multiple of 4"):
        Recipe.of(dict(type="dvae", width=6))
    with pytest.raises(UserError, match=r'no pixels for the tokenizer: add pixels=dict\(of="image"'):
        ensure_dvae(Recipe.of(SMALL), dataset(shards, views={"image": {}}))


def test_training_losses_by_loops():
    torch.manual_seed(0)
    model = DVAE(6, 4, 1)
    x = map_pixels(torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8))
    torch.manual_seed(5)
    error, divergence = model(x, 0.7)
    scores = model.encoder(x).detach().double().numpy()
    torch.manual_seed(5)
    noise = -torch.empty(2, 6, 2, 2).exponential_().log().double().numpy()
    mixture, terms = np.zeros_like(scores), []
    for b, row, column in np.ndindex(2, 2, 2):
        s = scores[b, :, row, column]
        share = np.exp(s) / np.exp(s).sum()
        terms.append(sum(q * np.log(q * 6) for q in share))
        e = np.exp((s + noise[b, :, row, column]) / 0.7)
        mixture[b, :, row, column] = e / e.sum()
    (error + divergence).backward()
    painted = model.decoder.double()(torch.from_numpy(mixture)).detach()
    assert float(divergence) == pytest.approx(np.mean(terms), rel=1e-4)
    assert float(error) == pytest.approx(float(((painted - x) ** 2).mean()), rel=1e-4)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_the_start_gives_tokens_that_differ():
    """Scores are minus the squared distance to the features of drawn places, up to what a place's tokens share."""
    torch.manual_seed(0)
    model = DVAE(16, 4, 1)
    colours = torch.randint(0, 256, (8, 3, 4, 4), dtype=torch.uint8)
    x = map_pixels(colours.repeat_interleave(8, 2).repeat_interleave(8, 3))
    before = len(model.encoder(x).argmax(dim=1).unique())
    torch.manual_seed(7)
    model.start_from(x)
    torch.manual_seed(7)
    places = torch.randperm(8 * 16)[:16]
    scores = model.encoder(x).permute(0, 2, 3, 1).flatten(0, 2).detach().double()
    features = model.encoder.blocks[:-1](x).relu().permute(0, 2, 3, 1).flatten(0, 2).detach().double()
    distance = (features[:, None] - features[places][None]).square().sum(dim=2)
    expected = -80 * (distance - distance[:, :1]) / distance.mean()
    torch.testing.assert_close(scores - scores[:, :1], expected, rtol=1e-3, atol=1e-2)
    assert len(scores.argmax(dim=1).unique()) == 16 > before
    error, _ = model(x, 1.0)
    assert float(error) < 2 * float(x.var())  # the first picture is near the mean colour


def test_trained_once_then_found(shards, monkeypatch):
    config = dict(type="BEiT", tokenizer=dict(SMALL))
    np.random.seed(4)
    torch.manual_seed(4)
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    fill_tokenizer(config, dataset(shards))
    assert (np.random.get_state()[1] == states[0]).all() and torch.equal(torch.get_rng_state(), states[1])
    path = Path(config["tokenizer"]["file"])
    about = json.loads(path.with_suffix(".json").read_text())
    assert config["tokenizer"] == dict(type="dvae", file=str(path)) and path.parent.name == f".{shards.name}.index"
    assert (about["schema"], about["version"]) == ("densebench/tokenizer", 1) and is_whole(path)
    assert about["settings"]["vocabulary"] == 16 and about["perplexity"] > 2
    assert build_tokenizer(config["tokenizer"]).vocabulary == 16

    monkeypatch.setattr("pretrain.tokenizer.training.train", lambda *_: pytest.fail("trained again"))
    assert ensure_dvae(Recipe.of(SMALL), dataset(shards)) == path
    fill_tokenizer(found := dict(tokenizer=dict(SMALL, file="mine.pth")), dataset(shards))
    assert found["tokenizer"]["file"] == "mine.pth"
    monkeypatch.undo()

    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0\0\1")
    assert not is_whole(path)
    assert ensure_dvae(Recipe.of(SMALL), dataset(shards)) == path  # a damaged one is trained anew, to the same weights
    assert path.read_bytes() == whole


def test_other_settings_other_file(shards):
    names = {
        ensure_dvae(Recipe.of(dict(SMALL, **change)), dataset(shards)) for change in ({}, {"seed": 1}, {"steps": 5})
    }
    views = {"image": {"scale": (0.8, 1.0)}, "pixels": {"of": "image", "size": 16, "interpolation": "lanczos"}}
    assert ensure_dvae(Recipe.of(SMALL), dataset(shards, views=views)) in names  # shared by methods
    views = {**VIEWS, "pixels": {"of": "image", "size": 24}}
    names.add(ensure_dvae(Recipe.of(SMALL), dataset(shards, views=views)))
    assert len(names) == 4


def count_trainings(shards, counter):
    from pretrain.tokenizer import training as module

    inner = module.train

    def counted(*args):
        with counter.get_lock():
            counter.value += 1
        return inner(*args)

    module.train = counted
    module.ensure_dvae(Recipe.of(dict(SMALL, seed=77)), dataset(shards))


def test_two_runs_at_once_train_it_once(shards):
    context = multiprocessing.get_context("fork")
    counter = context.Value("i", 0)
    runs = [context.Process(target=count_trainings, args=(shards, counter)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert [run.exitcode for run in runs] == [0, 0] and counter.value == 1


def test_image_folders_too(tmp_path):
    for index in range(8):
        folder = tmp_path / "images" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.png").write_bytes(make_sample(index)["png"])
    data = dict(type="ImageFolder", root=str(tmp_path / "images"), size=32, views=VIEWS)
    path = ensure_dvae(Recipe.of(dict(SMALL, images=8)), data)
    assert path.parent == tmp_path / ".images.index" and is_whole(path)


def test_a_useless_tokenizer_is_refused(monkeypatch):
    """As if all encoders ended up with scores that no image changes."""
    monkeypatch.setattr(DVAE, "start_from", lambda self, x: self.encoder.blocks.output.conv.w.data.zero_())
    images = torch.randint(0, 256, (10, 3, 16, 16), dtype=torch.uint8)
    with pytest.raises(UserError, match="nearly all places the same token .perplexity 1.00.*kl_weight"):
        train(Recipe.of(dict(SMALL, learning_rate=0.0)), images)


def test_training_paints_better(shards):
    """A longer training has the smaller error, and the stated quality is right."""
    recipe = Recipe.of(dict(SMALL, batch=8))
    images = load_images(recipe, dataset(shards), 16)
    assert images.shape == (20, 3, 16, 16) and images.dtype == torch.uint8
    _, first = train(recipe, images)
    model, quality = train(Recipe.of(dict(SMALL, batch=8, steps=30)), images)
    assert quality["squared_error"] < 0.9 * first["squared_error"]
    ids = model.encoder(map_pixels(images)).argmax(dim=1).flatten().tolist()
    share = np.bincount(ids, minlength=16) / len(ids)
    assert quality["perplexity"] == pytest.approx(np.exp(-sum(p * np.log(p) for p in share if p > 0)), rel=1e-4)
    assert quality["tokens_used"] == (share > 0).sum()
