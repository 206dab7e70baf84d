"""Kinds of a user's own data for pretraining: a folder per class, and a table of captions."""

import csv
import json
import runpy

import numpy as np
import pytest
from PIL import Image

from benchmarks.fuzzing.formats import encode
from datasets.images import decode_image
from datasets.prepare.findings import CannotTrain
from datasets.shards import ShardReader, load_index, read_captions
from study.configure import load_config
from tests.datasets.prepare.samples import absolute, cut, manifest, photograph, save
from tests.pretrain.samples import write_tar


@pytest.fixture
def folders(tmp_path):
    for split, count in (("train", 3), ("valid", 2)):
        for name in ("cat", "dog"):
            for k in range(count):
                photograph(tmp_path / f"mine/{split}/{name}/{k}.jpg", seed=k)
    (tmp_path / "mine/train/.ipynb_checkpoints").mkdir()
    return tmp_path / "mine"


def test_a_folder_per_class(prepare, folders, tmp_path):
    screen = prepare("image-folder", folders, "--size", "48")
    assert "6 images" in screen and "4 images" in screen and "2: cat, dog" in screen
    cfg = load_config("pretrain/configs/mae.py", data=str(absolute(tmp_path / "data/mine")))
    assert cfg.data.kind == "image_folder" and cfg.model.encoder.kwargs.img_size == 48
    data = manifest(tmp_path / "data/mine")["data"]
    assert data["test"].endswith("data/mine/val") and data["train"].endswith("data/mine/train")


def test_every_fault_of_every_split_is_said(prepare, folders):
    cut(folders / "train/cat/0.jpg")
    for k in range(3):
        (folders / f"train/dog/{k}.jpg").unlink()
    photograph(folders / "valid/cow/0.jpg")
    cut(folders / "valid/dog/1.jpg")
    screen, sentence = prepare.refused("image-folder", folders)
    assert "PROBLEM     corrupt image: 2" in screen and "class folder without an image: 1" in screen
    assert "cow is missing in data/mine/train" in screen and "4 problems" in sentence


def test_classes_alone_serve_pretraining(prepare, folders, tmp_path):
    screen = prepare("image-folder", folders / "train", "--out", "data/alone")
    assert "good for pretraining alone" in screen
    assert "test" not in manifest(tmp_path / "data/alone")["data"]


@pytest.fixture
def pictures(tmp_path):
    for k in range(3):
        photograph(tmp_path / f"web/img/{k}.jpg", seed=k)
    return tmp_path / "web"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv"])
def test_a_table_of_captions_becomes_shards(prepare, pictures, tmp_path, kind):
    rows = [("img/0.jpg", 'a cat, "big"'), ("img/1.jpg", "ein Hündchen"), ("img/0.jpg", "a tabby"), ("img/2.jpg", "c")]
    table = pictures / f"texts.{kind}"
    if kind == "jsonl":
        table.write_text("".join(json.dumps({"path": path, "text": text}) + "\n" for path, text in rows))
    else:
        with open(table, "w", newline="") as file:
            csv.writer(file, delimiter="\t" if kind == "tsv" else ",").writerows([("image", "caption"), *rows])
    screen = prepare("captions", table, "--size", "64")
    assert "wrote 3 images with 4 texts as shards" in screen and "PROBLEM" not in screen
    reader = ShardReader(load_index(tmp_path / "data/texts/shards"))
    for k, texts in enumerate((['a cat, "big"', "a tabby"], ["ein Hündchen"], ["c"])):
        found = read_captions(reader.read(k, 1), reader.read(k, 2))
        assert found["txt"] == texts[0] and found["all"] == texts
        picture = np.array(Image.open(pictures / f"img/{k}.jpg"))
        assert np.array_equal(decode_image(reader.read(k, 0)), picture)
    cfg = load_config("pretrain/configs/clip.py", data=str(absolute(tmp_path / "data/texts")))
    assert cfg.train_dataloader.dataset.size == 64
    assert "no file has changed" in prepare("captions", table, "--size", "64")


@pytest.mark.parametrize(("text", "what"), [
    ('{"path": "img/0.jpg"}', "entry 1 has no path or image or file with text"),
    ('{"path": "img/0.jpg", "text": " "}', "entry 1 has no"), ("[1]", "a line is no object"), ("{", "cannot be read"),
    ('{"path": "img/0.jpg", "text": "half \\ud800"}', "surrogates not allowed"),
    ("", "names no image"), ('{"path": "img/9.jpg", "text": "x"}', "1 of 1 images are not in"),
])  # fmt: skip
def test_tables_that_are_none_are_refused(prepare, pictures, text, what):
    (pictures / "texts.jsonl").write_text(text)
    assert what in prepare.refused("captions", pictures / "texts.jsonl")[1]


def test_a_damaged_picture_of_a_table_is_named(prepare, pictures):
    cut(pictures / "img/1.jpg")
    (pictures / "t.jsonl").write_text('{"path": "img/1.jpg", "text": "x"}\n{"path": "img/0.jpg", "text": "y"}\n')
    screen, _ = prepare.refused("captions", pictures / "t.jsonl")
    assert "PROBLEM     corrupt sample: 1" in screen and "00000000: image cut short" in screen


def test_what_training_would_refuse_ends_with_status_1(folders, tmp_path, monkeypatch, capsys):
    cut(folders / "valid/dog/1.jpg")
    monkeypatch.setattr("sys.argv", ["tools/prepare.py", "image-folder", str(folders), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path("tools/prepare.py", run_name="__main__")
    assert end.value.code == 1 and capsys.readouterr().err.startswith("error: out cannot be trained on")


def test_distances_that_no_camera_sees(prepare, tmp_path):
    for split in ("train", "val"):
        for k in range(2):
            photograph(tmp_path / f"deep/images/{split}/{k}.png", seed=k)
            save(tmp_path / f"deep/depth/{split}/{k}.png", np.full((8, 12), 40, np.uint16))
    with pytest.raises(CannotTrain):
        prepare("depth-folder", tmp_path / "deep")
    screen, _ = prepare.refused("depth-folder", tmp_path / "deep")
    assert "PROBLEM     distances that no camera sees: 1" in screen and "half of the depths lie below 0.04 m" in screen
    assert "PROBLEM" not in prepare("depth-folder", tmp_path / "deep", "--force")
    assert "PROBLEM" not in prepare("depth-folder", tmp_path / "deep", "--depth-scale", "10")


def test_images_and_labels_in_each_others_folders(prepare, tmp_path):
    for split in ("train", "val"):
        for k in range(2):
            photograph(tmp_path / f"seg/annotations/{split}/{k}.png", seed=k)
            save(tmp_path / f"seg/images/{split}/{k}.png", np.eye(8, 12, dtype=np.uint8))
    screen, _ = prepare.refused("mmseg-folder", tmp_path / "seg")
    assert "PROBLEM     images and labels swapped: 2" in screen
    photograph(tmp_path / "seg/images/train/1.png")  # one grey photograph among others, and labels in colours
    photograph(tmp_path / "seg/images/val/1.png")
    screen, _ = prepare.refused("mmseg-folder", tmp_path / "seg")
    assert "swapped" not in screen and "export one channel" in screen


def test_files_of_another_kind_are_counted(prepare, tmp_path):
    for split in ("train", "val"):
        photograph(tmp_path / f"deep/images/{split}/0.png")
        (tmp_path / f"deep/depth/{split}").mkdir(parents=True)
        np.save(tmp_path / f"deep/depth/{split}/0.npy", np.ones((8, 12)))
    screen, _ = prepare.refused("depth-folder", tmp_path / "deep")
    assert ".webp, but 1 of .npy: convert them" in screen


def test_a_sample_without_caption_among_thousands_is_named_and_the_others_are_used(prepare, tmp_path):
    picture = encode(np.zeros((4, 4, 3), np.uint8))
    samples = {k: {"png": picture, "txt": b"a word"} for k in range(1200)}
    del samples[7]["txt"]
    (tmp_path / "web").mkdir()
    write_tar(tmp_path / "web/0.tar", samples)
    screen = prepare("image-text", tmp_path / "web")
    assert "noisy 99.92%" in screen and "sample without the caption 'noisy', skipped where it is asked for: 1" in screen
    assert "0.tar:000007" in screen and "methods of images alone" not in screen
    for k in (8, 9):
        del samples[k]["txt"]
    write_tar(tmp_path / "web/0.tar", samples)
    assert "only methods of images alone can train on these" in prepare("image-text", tmp_path / "web")
