"""Votes of neighbours against plain loops, and features of any checkpoint."""

import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch.nn.functional import normalize

from backbones import load_encoder
from backbones.towers import Features
from engine.errors import UserError
from recognition import knn


@pytest.mark.parametrize("memory", [1, 2**28], ids=["one row", "all"])
def test_against_loops(monkeypatch, memory):
    monkeypatch.setattr(knn, "MEMORY", memory)
    generator = torch.Generator().manual_seed(0)
    train = normalize(torch.randn(60, 8, generator=generator), dim=-1)
    test = normalize(torch.randn(20, 8, generator=generator), dim=-1)
    labels = torch.randint(4, (60,), generator=generator)
    expected = []
    for row in test.double().numpy():
        near = sorted(((float(np.dot(row, t)), int(c)) for t, c in zip(train.double().numpy(), labels, strict=True)))
        votes = [sum(math.exp(s / 0.07) for s, c in near[-7:] if c == k) for k in range(4)]
        expected.append(votes.index(max(votes)))
    assert knn.classify(train, labels, test, neighbours=7).tolist() == expected
    assert len(set(expected)) > 1


def test_the_vote_is_weighted():
    train = normalize(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]]), dim=-1)
    found = [knn.classify(train, torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.0]]), 3, t).item() for t in (0.07, 10)]
    assert found == [0, 1]


def test_too_many_neighbours():
    with pytest.raises(UserError, match="3 neighbours needs as many training images, not 2"):
        knn.classify(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), 3)


def test_features_of_a_checkpoint_without_text(mae):
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    encoder, meta, _ = load_encoder(mae)
    mean, std = (torch.tensor(meta["image"][name]) for name in ("mean", "std"))
    with torch.no_grad():
        found = encoder.eval()(((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2))
    torch.testing.assert_close(Features(mae, batch=2).embed_images(images), normalize(found, dim=-1))


def test_on_image_folders(scenes_root, mae, tmp_path):
    test = scenes_root / "imagefolder" / "pretrain"
    data = {"kind": "image_folder", "train": test, "test": test}
    cfg, features = Config(dict(data=data, neighbours=1)), Features(mae)
    top1, mean = knn.run(cfg, features).measures
    assert (top1.name, top1.value, mean.name, mean.value) == ("top1", 100, "mean_per_class", 100)
    for name in ("cube", "pyramid"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(next(test.glob("*/*.png")).read_bytes())
    for changes, message in (({"train": tmp_path}, "have other class folders"), ({"kind": "coco"}, "not 'coco'")):
        with pytest.raises(UserError, match=message):
            knn.run(Config(dict(data={**data, **changes}, neighbours=1)), features)
