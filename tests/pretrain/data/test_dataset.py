"""Shards by position, captions by name, corrupt samples, and items that do not depend on the worker."""

import json
import os
import tarfile

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from backbones.text import tokenize
from datasets.shards import ShardReader, load_index, read_captions
from engine.errors import UserError
from engine.order import Addressed, AddressedSampler
from pretrain.data.augment import RandomCrop
from pretrain.data.captions import shard_vocabulary
from pretrain.data.dataset import ImageFolder, ImageTextShards, pretrain_collate
from pretrain.data.dense import centre_offsets
from tests.pretrain.samples import make_sample, write_shards, write_tar


def test_offset_reads_equal_tarfile(shards):
    reader = ShardReader(load_index(shards))
    index = 0
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = {m.name: archive.extractfile(m).read() for m in archive}
        for key in sorted({name.split(".")[0] for name in members}):
            for part, extension in enumerate(("png", "txt", "json")):
                assert reader.read(index, part) == members[f"{key}.{extension}"]
            assert reader.name(index) == f"{path}:{key}"
            index += 1
    assert index == 25 == len(reader)


def test_index_follows_changed_shards(tmp_path):
    folder = write_shards(tmp_path / "shards", 12)
    assert len(load_index(folder)) == 12
    again = load_index(folder)  # now from its file
    np.testing.assert_array_equal(again.blocks(1), load_index(folder).blocks(1))
    (folder / "pretrain-00001.tar").unlink()
    assert len(load_index(folder)) == 10


def test_caption_choice(shards):
    for captions in ("aligned", "rewritten", "enriched", "noisy", "txt"):
        data = ImageTextShards(str(shards), 32, captions=captions, context=16)
        parts = make_sample(3)
        expected = read_captions(parts["txt"], parts["json"])[captions]
        np.testing.assert_array_equal(data[3]["tokens"].numpy(), tokenize(expected, 16))
    assert read_captions(b" a cat \n", None) == {"txt": "a cat", "noisy": "a cat"}
    assert read_captions(None, b'{"caption": "a dog"}')["txt"] == "a dog"
    assert "tokens" not in ImageTextShards(str(shards), 32)[0]
    with pytest.raises(UserError, match="no caption 'french' but aligned, enriched"):
        ImageTextShards(str(shards), 32, captions="french")


def write_texts(folder, captions, count=4):
    """Shards whose samples all have the same JSON, "captions" as given."""
    folder.mkdir()
    record = json.dumps({"captions": captions}).encode()
    write_tar(folder / "00000.tar", {i: {**make_sample(i), "txt": b"cone", "json": record} for i in range(count)})
    return folder


def drawn(data, times=400):
    """How often each text of item 0 is drawn, by its token row."""
    np.random.seed(0)
    rows = [tuple(data.tokens(0)[0]["tokens"].tolist()) for _ in range(times)]
    return {row: rows.count(row) for row in set(rows)}


def row(text):
    return tuple(tokenize(text, 16).tolist())


def test_lists_of_captions_are_drawn_uniformly(tmp_path):
    texts = ["red cube", "green sphere", "blue cone"]
    folder = write_texts(
        tmp_path / "shards", {"synthetic": texts, "rewritten": "a photo of a cone", "bad": [], "odd": [1]}
    )
    found = drawn(ImageTextShards(str(folder), 32, captions="synthetic", context=16))
    assert set(found) == {row(text) for text in texts} and min(found.values()) > 100  # of 133 each
    # a mix draws the kind first: half the items show the alt text, a sixth each text of the list
    mixed = drawn(ImageTextShards(str(folder), 32, captions="noisy+synthetic", context=16))
    assert 160 < mixed[row("cone")] < 240 and all(40 < mixed[row(text)] < 95 for text in texts)
    pair = drawn(ImageTextShards(str(folder), 32, captions="noisy+rewritten", context=16))
    assert set(pair) == {row("cone"), row("a photo of a cone")} and min(pair.values()) > 160
    for captions in ("bad", "odd", "noisy+bad"):
        with pytest.raises(UserError, match="have no caption '(bad|odd)' but noisy, rewritten, synthetic, txt"):
            ImageTextShards(str(folder), 32, captions=captions)


def test_texts_of_the_same_captions_show_the_same_draw(tmp_path):
    folder = write_texts(tmp_path / "shards", {"synthetic": ["red cube", "green sphere", "blue cone", "metal floor"]})
    data = ImageTextShards(str(folder), 32, captions="synthetic", context=16, texts={"tokens": {}, "tokens_again": {}})
    np.random.seed(0)
    for _ in range(20):
        item = data[1]
        assert torch.equal(item["tokens"], item["tokens_again"])


def test_vocabulary_holds_every_text_of_a_list(tmp_path):
    folder = write_texts(tmp_path / "shards", {"synthetic": ["red cube", "green sphere"]})
    assert {"red</w>", "cube</w>", "green</w>", "sphere</w>", "cone</w>"} <= set(shard_vocabulary(folder))


def test_missing_data_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no folder of image-text shards"):
        ImageTextShards(str(tmp_path / "nowhere"), 32)
    with pytest.raises(UserError, match=r"no shard \*.tar"):
        ImageTextShards(str(tmp_path), 32)
    with pytest.raises(UserError, match="there is no folder of classes"):
        ImageFolder(str(tmp_path / "nowhere"), 32)
    folder = write_shards(tmp_path / "shards", 4)
    shard = folder / "pretrain-00000.tar"
    shard.write_bytes(shard.read_bytes()[:3000])
    with pytest.raises(UserError, match="cannot be read"):
        ImageTextShards(str(folder), 32)


def test_corrupt_sample_is_replaced_named_and_counted(tmp_path):
    folder = write_shards(tmp_path / "shards", 20, damaged=(4, 5))
    log = tmp_path / "run" / "corrupt_samples.txt"
    data = ImageTextShards(str(folder), 32, captions="noisy", context=16, corrupt_log=str(log), max_corrupt=0.1)
    np.random.seed(1)
    item = data[4]
    np.random.seed(1)
    assert item["index"] == 6 and torch.equal(item["image"], data[6]["image"])
    data[4], data[5]
    lines = log.read_text().splitlines()
    assert len(lines) == 2 and ":000004\t" in lines[0] and ":000005\t" in lines[1]
    # another process counts what the first one found
    strict = ImageTextShards(str(folder), 32, corrupt_log=str(log), max_corrupt=0.05)
    with pytest.raises(UserError, match="2 of 20 samples are corrupt"):
        strict[4]


def test_default_threshold_stops_a_run(tmp_path):
    folder = write_shards(tmp_path / "shards", 20, damaged=(4,))
    with pytest.raises(UserError, match="1 of 20 samples are corrupt, more than 0.1%"):
        ImageTextShards(str(folder), 32)[4]


def loaded(shards, workers):
    data = Addressed(ImageTextShards(str(shards), 32, captions="aligned", context=16), seed=3)
    loader = DataLoader(
        data, batch_size=6, sampler=AddressedSampler(data, 3), num_workers=workers, collate_fn=pretrain_collate
    )
    batches = iter(loader)
    return [next(batches)["inputs"] for _ in range(8)]  # into the second epoch


def test_items_do_not_depend_on_workers(shards):
    for alone, many in zip(loaded(shards, 0), loaded(shards, 2), strict=True):
        assert alone.keys() == many.keys()
        for key in alone:
            assert torch.equal(alone[key], many[key]), key


def test_collate_cuts_padding(shards):
    data = ImageTextShards(str(shards), 32, captions="aligned", context=60)
    items = [data[i] for i in range(5)]
    tokens = pretrain_collate(items)["inputs"]["tokens"]
    longest = max(int((item["tokens"] != 0).sum()) for item in items)
    assert tokens.shape == (5, longest) and longest < 60


def test_crop_stays_inside_and_serves_aligned_maps():
    crop = RandomCrop(16, scale=(0.1, 1.0), flip=0.5)
    ramp = np.arange(40 * 60, dtype=np.float32).reshape(40, 60)
    image = np.repeat(ramp[..., None], 3, axis=2)
    np.random.seed(0)
    for _ in range(50):
        window = crop.draw(40, 60)
        assert window.top >= 0 and window.top + window.height <= 40 and window.left + window.width <= 60
        assert 0.05 < window.height * window.width / 2400 <= 1.0 and 0.7 < window.width / window.height < 1.4
        np.testing.assert_array_equal(crop.apply(ramp, window, True), crop.apply(image, window, True)[..., 0])
    assert crop.apply(np.zeros((16, 16, 3), np.uint8), crop.draw(16, 16)).shape == (16, 16, 3)


def test_image_folder_labels(tmp_path):
    for name in ("b", "a"):
        os.makedirs(tmp_path / name)
        for i in range(2):
            cv2.imwrite(str(tmp_path / name / f"{i}.png"), np.full((20, 20, 3), (10, 20, 250), np.uint8))
    data = ImageFolder(str(tmp_path), 16)
    assert data.classes == ["a", "b"] and [data[i]["label"] for i in range(4)] == [0, 0, 1, 1]
    assert data[0]["image"][:, 3, 3].tolist() == [250, 20, 10]  # RGB


def test_centre_offsets_by_loops():
    instance = np.zeros((5, 5), np.uint8)
    instance[1:4, 0:2], instance[0, 4] = 1, 2
    found = centre_offsets(instance)
    for y in range(5):
        for x in range(5):
            ys, xs = np.nonzero(instance == instance[y, x])
            expected = [(xs.mean() - x) / 5, (ys.mean() - y) / 5] if instance[y, x] else [0, 0]
            assert found[:, y, x].tolist() == pytest.approx(expected, abs=1e-6)
