"""Tags: hashtags or words, those that are frequent, as rows of one width."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch

import pretrain
from datasets.images import CorruptSample
from datasets.shards import listed_tags
from engine.errors import UserError
from pretrain.data.dataset import ImageTextShards, pretrain_collate
from pretrain.data.tags import Tagger, caption_tags, tag_vocabulary
from tests.pretrain.samples import make_sample

SAMPLES = [  # caption, the JSON's further fields
    ("A red CUBE on the floor", {}),
    ("red_cube-300x300.jpg", {}),
    ("#Red #sunset: red, red!", {}),
    ("the cube and a cube", {}),
    ("a red dog", {"tags": ["#Sunset", "sunset", " Cube ", "", 7]}),
    ("a red dog", {"tags": []}),
    ("nothing of that", {}),
]


@pytest.fixture
def shards(tmp_path):
    """Shards of SAMPLES, captions "txt"; "aligned" says "lake" of every one."""
    folder = tmp_path / "data" / "shards"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "a.tar", "w") as archive:
        for index, (caption, more) in enumerate(SAMPLES):
            record = {"captions": {"aligned": "lake"}, **more}
            parts = {"png": make_sample(index)["png"], "txt": caption.encode(), "json": json.dumps(record).encode()}
            for extension, data in parts.items():
                info = tarfile.TarInfo(f"{index:03d}.{extension}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return str(folder)


def test_words_of_a_caption():
    assert caption_tags("A red CUBE on the floor, red!") == ["red", "cube", "floor"]
    assert caption_tags("#Sunset_at-the #LAKE2") == ["sunset", "lake2"]
    assert caption_tags("Über dem Öl: 50%") == ["über", "dem", "öl", "50"]
    assert caption_tags("to be or not to be") == caption_tags("") == []


def test_listed_tags():
    assert listed_tags(json.dumps({"tags": ["#Sunset", "sunset", "New York", "#", 3]}).encode()) == [
        "sunset",
        "new york",
    ]
    assert listed_tags(b'{"tags": []}') == []
    assert listed_tags(b'{"tags": "red"}') is None and listed_tags(b"{}") is None and listed_tags(None) is None
    with pytest.raises(CorruptSample):
        listed_tags(b'{"tags": [')


def test_vocabulary_counts_samples_not_words(shards):
    """red: samples 0, 1, 2 (three times in one); cube: 0, 1, 3, 4; sunset: 2, 4; the words of 4 and 5 do not count."""
    assert tag_vocabulary(shards, "*.tar", "txt", 2) == ["cube", "red", "sunset"]
    assert tag_vocabulary(shards, "*.tar", "txt", 4) == ["cube"]
    assert tag_vocabulary(shards, "*.tar", "aligned", 2) == ["lake"]
    assert tag_vocabulary(shards, "*.tar", "txt+aligned", 2) == ["lake", "cube", "red", "sunset"]
    with pytest.raises(UserError, match="no tag occurs in 6 samples of .*, the most frequent in 4"):
        tag_vocabulary(shards, "*.tar", "txt", 6)


def test_vocabulary_is_found_once_and_anew_for_other_shards(shards, monkeypatch, tmp_path):
    first = tag_vocabulary(shards, "*.tar", "txt", 2)
    assert len(list((tmp_path / "data" / ".shards.index").glob("tags-*.json"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr("pretrain.data.tags.load_index", None)  # a second search would need it
        assert tag_vocabulary(shards, "*.tar", "txt", 2) == first
    with tarfile.open(f"{shards}/b.tar", "w") as archive:
        for index in range(3):
            info = tarfile.TarInfo(f"{index}.png")
            archive.addfile(info)
            info = tarfile.TarInfo(f"{index}.txt")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"sea"))
    assert tag_vocabulary(shards, "*.tar", "txt", 2) == ["cube", "red", "sea", "sunset"]


def test_rows(shards):
    tagger = Tagger(shards, "*.tar", "txt", 2, width=3)
    assert tagger.row(["sunset", "dog", "cube"]).tolist() == [2, 0, -1]
    assert tagger.row([]).tolist() == [-1, -1, -1]
    assert Tagger(shards, "*.tar", "txt", 2, width=2).row(["red", "sunset", "cube"]).tolist() == [1, 2]
    assert tagger.row([]).dtype == np.int64


def test_items_and_batches(shards):
    data = ImageTextShards(shards, 32, captions="txt", texts={}, tags=dict(min_count=2, width=4))
    batch = pretrain_collate([data[index] for index in range(len(SAMPLES))])["inputs"]
    assert sorted(batch) == ["image", "index", "tags"] and batch["tags"].dtype == torch.int64
    named = [{["cube", "red", "sunset"][i] for i in row if i >= 0} for row in batch["tags"].tolist()]
    assert named == [{"red", "cube"}, {"red", "cube"}, {"red", "sunset"}, {"cube"}, {"sunset", "cube"}, set(), set()]
    assert batch["tags"].shape == (7, 4) and (batch["tags"][5:] == -1).all()


def test_tags_and_tokens_are_of_the_same_draw(shards):
    data = ImageTextShards(shards, 32, captions="txt+aligned", tags=dict(min_count=2))
    seen = set()
    for seed in range(12):
        np.random.seed(seed)
        item = data[0]
        words = {data.tagger.ids[word] for word in ("red", "cube")}
        lake = {data.tagger.ids["lake"]}
        long = int((item["tokens"] > 0).sum()) > 4  # start, lake, end
        assert {i for i in item["tags"].tolist() if i >= 0} == (words if long else lake)
        seen.add(long)
    assert seen == {True, False}


def test_a_caption_that_is_not_there_is_named(shards):
    with pytest.raises(UserError, match="have no caption 'alinged' but aligned, noisy, txt"):
        ImageTextShards(shards, 32, captions="alinged", texts={}, tags=dict(min_count=2))


def test_the_number_of_classes_comes_from_the_data(configure):
    cfg = configure("pretrain/configs/wsp.py", 2)
    pretrain.fill(cfg)
    dataset = cfg.train_dataloader.dataset
    found = tag_vocabulary(dataset.root, dataset.pattern, "noisy", 5)
    assert cfg.model.num_classes == len(found) > 1


def test_tags_are_refused_of_a_folder(configure):
    cfg = configure("pretrain/configs/wsp.py", 2)
    cfg.data.kind = "image_folder"
    with pytest.raises(UserError, match="wsp learns from tags, .* give it data of kind image_text"):
        pretrain.fill(cfg)
