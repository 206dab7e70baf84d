"""Cached token ids: those of the views, computed once, and refused where views are random."""

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS

from engine.errors import UserError
from pretrain.data.augment import RandomCrop
from pretrain.data.dataset import pretrain_collate
from pretrain.methods.beit import BEiT
from pretrain.tokenizer.cache import fill_token_cache
from pretrain.tokenizer.dvae import Encoder
from pretrain.tokenizer.load import build_tokenizer
from tests.pretrain.samples import write_shards
from tests.pretrain.test_beit import BEIT

WHOLE = {"image": {"scale": (1, 1), "flip": 0}, "pixels": {"of": "image", "size": 32}}


@pytest.fixture
def spec(tmp_path):
    torch.manual_seed(0)
    torch.save(Encoder(300, 4, 1).state_dict(), tmp_path / "tokens.pth")
    return dict(type="dvae", file=str(tmp_path / "tokens.pth"))


@pytest.fixture
def dataset(tmp_path):
    shards = write_shards(tmp_path / "shards", 25, damaged=(4,))
    return dict(
        type="ImageTextShards", root=str(shards), size=32, pattern="*.tar", captions="aligned", context=16, views=WHOLE,
        max_corrupt=0.1, token_cache=True,
    )  # fmt: skip


def test_ids_are_those_of_the_views(spec, dataset, tmp_path, monkeypatch):
    plain = DATASETS.build({**dataset, "token_cache": None})
    fill_token_cache(dict(tokenizer=spec), dataset)
    rows = np.load(dataset["token_cache"])
    assert rows.shape == (25, 16) and rows.dtype == np.uint16 and (rows[4] == 0).all()
    assert dataset["token_cache"].startswith(str(tmp_path / ".shards.index" / "ids-"))
    cached, tokenizer = DATASETS.build(dict(dataset)), build_tokenizer(spec)
    for index in (0, 3, 4, 24):  # 4 is corrupt: both sets give 5
        np.random.seed(index)  # a window that is not random
        one, other = cached[index], plain[index]
        assert "pixels" not in one and torch.equal(one["image"], other["image"])
        assert torch.equal(one["ids"], tokenizer.ids(other["pixels"][None])[0])
        assert torch.equal(one["tokens"], other["tokens"])
    batch = pretrain_collate([cached[index] for index in range(3)])["inputs"]
    assert batch["ids"].shape == (3, 16) and batch["ids"].dtype == torch.int64
    model = BEiT(encoder=BEIT, tokenizer=spec, mask_count=6)
    monkeypatch.setattr(model.tokenizer, "ids", lambda *_: pytest.fail("the tokenizer ran"))
    assert torch.isfinite(model(inputs={**batch, "image": batch["image"] / 255})["loss_token"])

    again = {**dataset, "token_cache": True}
    monkeypatch.setattr("pretrain.tokenizer.cache.write_ids", lambda *_: pytest.fail("computed again"))
    fill_token_cache(dict(tokenizer=spec), again)
    assert again["token_cache"] == dataset["token_cache"]


def test_other_weights_other_file(spec, dataset, tmp_path):
    first = dict(dataset)
    fill_token_cache(dict(tokenizer=spec), first)
    torch.save(Encoder(300, 4, 1).state_dict(), tmp_path / "tokens.pth")
    fill_token_cache(dict(tokenizer=spec), dataset)
    assert first["token_cache"] != dataset["token_cache"]


@pytest.mark.parametrize(
    ("image", "pixels", "blamed"),
    [
        ({"scale": (0.5, 1.0), "flip": 0}, {}, "image"),
        ({"scale": (1, 1)}, {}, "image"),
        ({"scale": (1, 1), "flip": 0, "colour": {}}, {}, "image"),
        ({"scale": (1, 1), "flip": 0}, {"colour": {}}, "pixels"),
    ],
)
def test_random_views_are_refused(spec, dataset, image, pixels, blamed):
    dataset["views"] = {"image": image, "pixels": {**WHOLE["pixels"], **pixels}}
    with pytest.raises(
        UserError, match=rf"the view '{blamed}' is drawn anew each time: give it scale=\(1, 1\), flip=0"
    ):
        fill_token_cache(dict(tokenizer=spec), dataset)


def test_only_where_asked_and_only_with_a_tokenizer(dataset):
    with pytest.raises(UserError, match="token_cache needs a model with a tokenizer"):
        fill_token_cache({}, dataset)
    fill_token_cache({}, off := {**dataset, "token_cache": False})
    assert "token_cache" not in off


def test_whole_images_are_always_shown_alike():
    for height, width in ((48, 40), (100, 101), (30, 90)):
        crop = RandomCrop(8, scale=(1, 1), flip=0)
        windows = {crop.draw(height, width) for _ in range(20)}
        assert crop.fixed and len(windows) == 1
        window = windows.pop()
        assert (window.height, window.width) == (height, min(width, round(height * 4 / 3)))
