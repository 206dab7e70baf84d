"""Shards of labelled images: read back as pretraining reads them, and the same bytes again."""

import json

import numpy as np
import pytest
from PIL import Image

from datasets.class_captions import Noise, write_class_shards
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


def test_noisy_captions(tmp_path):
    """Shares as asked for, to four binomial deviations; another name is never one's own; the same draw from a seed."""
    count, labels = 5, [k % 5 for k in range(4000)]
    shown = Noise(0.3, 0.2, ["a thing"], seed=1).classes(labels, count)
    wrong = [(own, other) for own, other in zip(labels, shown, strict=True) if other not in (None, own)]
    for found, share in ((len(wrong), 0.3), (shown.count(None), 0.2)):
        assert abs(found - share * 4000) < 4 * (share * (1 - share) * 4000) ** 0.5
    pairs = {pair: wrong.count(pair) for pair in set(wrong)}
    assert len(pairs) == 20 and max(pairs.values()) < 2 * min(pairs.values())  # uniform over the others
    assert shown == Noise(0.3, 0.2, ["a thing"], seed=1).classes(labels, count)
    assert shown != Noise(0.3, 0.2, ["a thing"], seed=2).classes(labels, count)
    assert Noise(0, 0, []).classes(labels, count) == labels


def test_noisy_captions_stand_beside_those_of_the_class(folder, tmp_path):
    write_class_shards(folder, CAPTIONS, tmp_path / "shards", noise=Noise(0, 1, ["a thing"]))
    write_class_shards(folder, CAPTIONS, tmp_path / "swapped", noise=Noise(1, 0, ["a thing"]))
    for name, of_cat in (("shards", ["a thing"]), ("swapped", CAPTIONS["hot_dog"])):
        reader = ShardReader(load_index(tmp_path / name, "train-*.tar"))
        found = read_captions(reader.read(0, 1), reader.read(0, 2))
        assert found == {"class": CAPTIONS["cat"], "noisy": of_cat}
