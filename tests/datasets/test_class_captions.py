"""Shards of labelled images: read back as pretraining reads them, and the same bytes again."""

import json

import numpy as np
import pytest
from PIL import Image

from datasets.class_captions import write_class_shards
from datasets.shards import ShardReader, load_index, read_captions
from engine.errors import UserError

CAPTIONS = {"cat": ["a cat", "the cat"], "hot_dog": ["a hot dog", "the hot dog"]}


@pytest.fixture
def folder(tmp_path):
    """Three cats and two hot dogs."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(("cat/1.png", "cat/2.jpg", "cat/3.PNG", "hot_dog/1.png", "hot_dog/2.png")):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 8 + number, 3), np.uint8)).save(path)
    (tmp_path / "source" / "cat" / "notes.txt").write_text("no image")
    return tmp_path / "source"


def test_read_back(folder, tmp_path):
    assert write_class_shards(folder, CAPTIONS, tmp_path / "shards", per_shard=2) == 5
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [
        "train-00000.tar", "train-00001.tar", "train-00002.tar",
    ]  # fmt: skip
    reader = ShardReader(load_index(tmp_path / "shards", "train-*.tar"))
    files = [folder / name for name in ("cat/1.png", "cat/2.jpg", "cat/3.PNG", "hot_dog/1.png", "hot_dog/2.png")]
    for sample, file in enumerate(files):
        assert reader.read(sample, 0) == file.read_bytes()
        found = read_captions(reader.read(sample, 1), reader.read(sample, 2))
        assert found == {"class": CAPTIONS[file.parent.name]}
        assert json.loads(reader.read(sample, 2))["label"] == [*CAPTIONS].index(file.parent.name)


def test_the_same_folder_gives_the_same_bytes(folder, tmp_path):
    for name in ("a", "b"):
        write_class_shards(folder, CAPTIONS, tmp_path / name)
        for path in folder.rglob("*.png"):
            path.touch()
    assert (tmp_path / "a/train-00000.tar").read_bytes() == (tmp_path / "b/train-00000.tar").read_bytes()


def test_refusals_leave_nothing(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="folder .*dog cannot be read"):
        write_class_shards(folder, {**CAPTIONS, "dog": ["a dog"]}, out)
    (folder / "dog").mkdir()
    with pytest.raises(UserError, match="folder .*dog holds no image"):
        write_class_shards(folder, {**CAPTIONS, "dog": ["a dog"]}, out)
    assert not out.exists()
    (tmp_path / ".out.new").mkdir()  # of a start that was interrupted
    (tmp_path / ".out.new" / "train-00009.tar").write_text("half")
    write_class_shards(folder, CAPTIONS, out)
    assert [path.name for path in out.iterdir()] == ["train-00000.tar"] and not (tmp_path / ".out.new").exists()
    with pytest.raises(UserError, match="is already there"):
        write_class_shards(folder, CAPTIONS, out)
