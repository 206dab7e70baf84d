"""Stored teachers: the same pixels, the same embeddings as a direct computation, stale and damaged folders refused."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backbones import save_checkpoint
from backbones.text import tokenize
from backbones.towers import Teacher
from datasets.images import decode_image
from engine.errors import UserError
from engine.files import sealed
from engine.seeding import seed_host
from pretrain.data import reinforce as module
from pretrain.data.augment import RandomCrop, to_tensor
from pretrain.data.captions import shard_vocabulary
from pretrain.data.dataset import ImageTextShards, pretrain_collate
from pretrain.data.reinforce import reinforce
from pretrain.data.reinforcement import teacher_widths
from pretrain.methods.clip import CLIP
from tests.pretrain.samples import ENCODER, TEXT, make_sample, write_tar

SYNTHETIC = ["red cube left of the cone", "green sphere", "large blue cone on the floor"]
SCALE = (0.3, 0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine samples with three synthetic captions each (the last one has one), the fifth image damaged."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    folder.mkdir()
    samples = {}
    for index in range(9):
        texts = [f"{text} {'metal ' * index}" for text in SYNTHETIC[: 1 if index == 8 else 3]]
        record = json.dumps({"captions": {"synthetic": texts}}).encode()
        samples[index] = {**make_sample(index, damaged=index == 4), "json": record}
    write_tar(folder / "00000.tar", samples)
    return folder


def make_data(folder, reinforcement=None, **changes):
    texts = {"tokens": {"captions": "noisy"}, "tokens_synthetic": {"captions": "synthetic"}}
    arguments = {"views": {"image": {"scale": SCALE, "flip": 0.5}}, "texts": texts, "max_corrupt": 0.2, **changes}
    path = str(reinforcement) if reinforcement else None
    return ImageTextShards(str(folder), 32, captions="noisy", context=16, reinforcement=path, **arguments)


def make_teacher(place, folder, seed, size, width, context):
    """A checkpoint of CLIP and its model, with image statistics of its own."""
    torch.manual_seed(seed)
    encoder = {"name": ENCODER["name"], "kwargs": {**ENCODER["kwargs"], "img_size": size}}
    statistics = {"type": "ImagePreprocessor", "mean": [0.4, 0.5, 0.1 * seed], "std": [0.2, 0.3, 0.25]}
    text = {**TEXT, "vocabulary": shard_vocabulary(folder), "embed_dim": width, "context": context}
    model = CLIP(encoder, text, statistics).eval()
    meta = model.checkpoint_meta()
    meta["image"]["size"] = size
    meta |= {"method": "clip", "captions": "noisy", "seed": seed, "scale": "tiny", "parent": None, "ledger": None}
    meta |= {"data": {"name": "small", "samples": 9}, "samples_seen": 0, "updates": 0, "config_hash": "0"}
    meta |= {"code_version": "0", "cost": {"wall_s": 0, "samples_per_s": 0, "peak_memory_mib": 0, "hardware": None}}
    save_checkpoint(place, model.encoder, meta, model.text_state())
    return model


@pytest.fixture(scope="module")
def teachers(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("teachers")
    models = [make_teacher(place / "0", folder, 1, 32, 16, 16), make_teacher(place / "1", folder, 2, 24, 12, 10)]
    return models, [place / "0", place / "1"]


@pytest.fixture(scope="module")
def stored(folder, teachers, tmp_path_factory):
    place = tmp_path_factory.mktemp("stored") / "reinforcement"
    reinforce(make_data(folder), [Teacher(path) for path in teachers[1]], place, count=3, seed=5, batch_size=4)
    return place


@torch.no_grad()
def direct_image(model, image, window, size):
    picture = to_tensor(RandomCrop(size).apply(image, window))
    inputs = model.data_preprocessor({"inputs": {"image": picture[None]}})["inputs"]["image"]
    return F.normalize(model.image_projection(model.encoder(inputs)), dim=-1)[0]


@torch.no_grad()
def direct_text(model, text):
    tokens = torch.from_numpy(tokenize(text, model.text.context))[None]
    return F.normalize(model.text(tokens), dim=-1)[0]


def expected_windows(data, index, count=3, seed=5):
    image = decode_image(data.reader.read(index, 0))
    windows = []
    for number in range(count):
        seed_host(seed, index, number)
        windows.append(RandomCrop(32, scale=SCALE).draw(*image.shape[:2]))
    return image, windows


def test_an_item_is_a_stored_crop_with_the_teachers_embeddings_of_it(folder, teachers, stored):
    models = teachers[0]
    data = make_data(folder, stored)
    crops, texts = set(), set()
    for index in (0, 2, 7, 8):
        image, windows = expected_windows(data, index)
        pictures = [to_tensor(RandomCrop(32).apply(image, window)) for window in windows]
        record = json.loads(data.reader.read(index, 2))["captions"]["synthetic"]
        for draw in range(18):
            seed_host(10, draw, index)
            item = data[index]
            (number,) = (i for i, picture in enumerate(pictures) if torch.equal(item["image"], picture))
            crops.add((index, number))
            (shown,) = (text for text in record if np.array_equal(tokenize(text, 16), item["tokens_synthetic"]))
            texts.add(shown)
            expected = {
                "image": [direct_image(m, image, windows[number], n) for m, n in zip(models, (32, 24), strict=True)],
                "text_synthetic": [direct_text(model, shown) for model in models],
                "text": [direct_text(model, data.reader.read(index, 1).decode()) for model in models],
            }
            for name, each in expected.items():
                torch.testing.assert_close(item[f"teacher_{name}"].float(), torch.cat(each), rtol=0, atol=1e-3)
            assert item["teacher_image"].dtype == torch.float16
    assert len(crops) == 12
    assert len(texts) == 10  # all of three lists of three and one of one
    batch = pretrain_collate([data[0], data[8]])["inputs"]
    assert batch["teacher_text_synthetic"].shape == (2, 28) and teacher_widths(stored) == [16, 12]


def test_the_embeddings_tell_crops_and_texts_apart(stored):
    """Else the comparison above could not fail."""
    image, text = np.load(stored / "image.npy"), np.load(stored / "tokens_synthetic.npy")
    assert np.abs(image[0, 0] - image[0, 1]).max() > 0.01 and np.abs(text[0] - text[1]).max() > 0.01
    np.testing.assert_allclose(np.square(image[0, :, :16].astype(float)).sum(axis=-1), 1, atol=2e-3)
    rows = np.load(stored / "tokens_synthetic_rows.npy")
    assert rows.tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24, 25] and len(text) == 25


def test_a_corrupt_sample_keeps_zeros_and_is_replaced(folder, stored):
    assert not np.load(stored / "windows.npy")[4].any() and not np.load(stored / "image.npy")[4].any()
    data = make_data(folder, stored)
    assert data[4]["index"] == 5 and len(data.corrupt) == 1


def test_other_views_are_drawn_and_a_view_of_the_same_window_follows(folder, stored):
    views = {"image": {"scale": SCALE, "flip": 0.5}, "pixels": {"of": "image"}, "image_1": {"scale": (0.2, 0.3)}}
    data = make_data(folder, stored, views=views)
    np.random.seed(3)
    item, other = data[0], data[0]
    assert torch.equal(item["image"], item["pixels"]) and not torch.equal(item["image_1"], other["image_1"])


def test_workers_read_for_themselves(folder, stored):
    import pickle

    data = make_data(folder, stored)
    again = pickle.loads(pickle.dumps(data))
    assert not again.reinforcement.arrays
    np.random.seed(1)
    item = data[2]
    np.random.seed(1)
    assert all(torch.equal(value, again[2][key]) for key, value in item.items() if key == "teacher_image")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"texts": {"tokens": {}, "tokens_synthetic": {"captions": "txt"}}}, "other captions"),
        ({"texts": {"tokens": {}}}, "other captions"),
        ({"views": {"image": {"scale": (0.5, 1.0), "flip": 0.5}}}, "other crops"),
        ({"views": {"image": {"scale": SCALE, "flip": 0.0}}}, "other crops"),
        ({"views": {"image": {"scale": SCALE, "colour": {}}}}, "without colour"),
        ({"views": {"image_1": {"scale": SCALE}}}, "a view 'image'"),
        ({"texts": {"tokens": {}, "tokens_synthetic": {"captions": "synthetic", "eda": True}}}, "without eda"),
    ],
)
def test_other_settings_are_refused(folder, stored, changes, words):
    with pytest.raises(UserError, match=words):
        make_data(folder, stored, **changes)


def test_other_shards_and_retrained_teachers_are_refused(folder, teachers, stored, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "shards")
    os.utime(moved / "00000.tar", ns=(1, 1))
    with pytest.raises(UserError, match="other shards .*: make it again with tools/reinforce.py"):
        make_data(moved, stored)
    copied = shutil.copytree(stored, tmp_path / "stored")
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["teachers"][1]["sha256"]["text.safetensors"] = "0" * 64
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="the teacher .*/1 is not the one stored"):
        make_data(folder, copied)
    manifest["teachers"][1]["folder"] = str(tmp_path / "gone")  # what it said still stands
    (copied / "manifest.json").write_text(json.dumps(manifest))
    make_data(folder, copied)


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def edit(change):
    def write(path):
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return write


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("image.npy", cut, "image.npy is missing or cut short"),
        ("tokens_synthetic_rows.npy", cut, "rows.npy is missing or cut short"),
        ("windows.npy", os.remove, "windows.npy is missing or cut short"),
        ("image.npy", lambda path: np.save(path, np.zeros((9, 3, 5), np.float16)), "not the array that manifest.json"),
        ("manifest.json", os.remove, "holds no reinforcement"),
        ("manifest.json", cut, "manifest.json is damaged"),
        ("manifest.json", edit(lambda manifest: manifest.update(version=2)), "of version 1"),
        ("manifest.json", edit(lambda manifest: manifest.update(schema="other")), "is not a densebench/reinforcement"),
    ],
)
def test_a_damaged_folder_is_refused(folder, stored, tmp_path, name, damage, words):
    copied = shutil.copytree(stored, tmp_path / "stored")
    damage(copied / name)
    with pytest.raises(UserError, match=words):
        make_data(folder, copied)


def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(folder, teachers, stored, tmp_path, monkeypatch):
    place = tmp_path / "reinforcement"
    settings = {"count": 3, "seed": 5, "batch_size": 2}
    whole, starts = module.store, []

    def store(batch, start, *rest):
        starts.append(start)
        if start == 4 and len(starts) == 3:
            raise KeyboardInterrupt
        whole(batch, start, *rest)

    monkeypatch.setattr(module, "store", store)
    monkeypatch.setattr(module, "FLUSH", 0.0)
    run = lambda **changes: reinforce(  # noqa: E731
        make_data(folder), [Teacher(path) for path in teachers[1]], place, **{**settings, **changes}
    )
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not place.exists() and starts == [0, 2, 4]
    manifest = run()
    assert starts[3:] == [4, 6, 8]
    assert manifest == json.loads((stored / "manifest.json").read_text())
    assert sorted(path.name for path in place.parent.iterdir()) == ["reinforcement"]
    for path in stored.glob("*.npy"):
        found, expected = np.load(place / path.name), np.load(path)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=path.name)  # batches of 2, not of 4
    run()
    assert len(starts) == 6  # complete: nothing is computed again
    with pytest.raises(UserError, match="holds another reinforcement"):
        run(seed=6)


def test_an_interrupted_run_of_other_settings_starts_anew(folder, teachers, tmp_path, monkeypatch):
    place, starts, whole = tmp_path / "reinforcement", [], module.store

    def store(batch, start, *rest):
        starts.append(start)
        if starts == [0, 4]:
            raise KeyboardInterrupt
        whole(batch, start, *rest)

    monkeypatch.setattr(module, "store", store)
    monkeypatch.setattr(module, "FLUSH", 0.0)
    data, teacher = make_data(folder), Teacher(teachers[1][0])
    with pytest.raises(KeyboardInterrupt):
        reinforce(data, [teacher], place, count=2, batch_size=4)
    manifest = reinforce(data, [teacher], place, count=1, batch_size=4)
    assert starts == [0, 4, 0, 4, 8] and manifest["arrays"]["image"][1] == [9, 1, 16]


def test_a_checkpoint_without_text_is_no_teacher(folder, tmp_path):
    make_teacher(tmp_path / "teacher", folder, 1, 32, 16, 16)
    meta = json.loads((tmp_path / "teacher" / "checkpoint.json").read_text())
    meta.update(text=None, method="mae")
    del meta["sha256"]["text.safetensors"]
    (tmp_path / "teacher" / "checkpoint.json").write_text(json.dumps(sealed(meta)))
    with pytest.raises(UserError, match=r"\(mae\) has no text tower"):
        Teacher(tmp_path / "teacher")
