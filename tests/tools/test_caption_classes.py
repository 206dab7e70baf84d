"""From labelled images to captions and to a pretraining that takes them."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones import read_checkpoint
from datasets.shards import ShardReader, load_index, read_captions
from engine.errors import UserError
from study.configure import load_config
from study.run import run, run_test
from tools import caption_classes

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR-10's folders with two images of noise a class, in a directory that has no runs."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for number, name in enumerate(CLASSES * 2):
            path = tmp_path / "data/cifar10" / split / name / f"{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    for room in ("docs", "pretrain", "recognition"):
        (tmp_path / room).symlink_to(ROOT / room)
    monkeypatch.chdir(tmp_path)


def start(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["tools/caption_classes.py", *words])
    caption_classes.main()


def captions_of(sample, kind="class"):
    reader = ShardReader(load_index("data/cifar10/shards"))
    return read_captions(None, reader.read(sample, 2))[kind]


@pytest.mark.parametrize("method", ["clip", "maskclip"])
def test_cifar10_from_folders_to_zero_shot(cifar, monkeypatch, capsys, method):
    """The commands of docs/overlays/cifar10.py, with two steps of training."""
    start(monkeypatch, "data/cifar10/train", "data/cifar10/shards", "--set", "recognition/sets/cifar10.py")
    assert capsys.readouterr().out == "data/cifar10/shards: 20 images of 10 classes, 18 captions each\n"
    assert "a bad photo of the cat." in captions_of(6) and len(captions_of(6)) == 18
    overlay = "docs/overlays/cifar10.py"
    cfg = load_config(f"pretrain/configs/{method}.py", data=overlay)
    assert cfg.train_cfg.max_iters == 4000 and cfg.model.encoder.kwargs.img_size == 32
    options = {"train_cfg.max_iters": 2, "train_dataloader.batch_size": 4}
    place = f"runs/tiny-cifar10/pretrain/{method}/seed0"
    run(load_config(f"pretrain/configs/{method}.py", data=overlay, options=options, work_dir=place), "x")
    meta = read_checkpoint(f"{place}/checkpoint")
    assert (meta["image"]["size"], meta["data"]) == (32, {"name": "cifar10", "samples": 20})
    assert meta["captions"] == "class" and len(meta["text"]["vocabulary"]) < 60
    cfg = load_config(
        "recognition/configs/zero_shot.py", checkpoint=f"{place}/checkpoint", data="recognition/sets/cifar10.py"
    )
    assert cfg.work_dir == f"runs/tiny-cifar10/zero_shot/{method}/seed0"
    record = run_test(cfg, "x")
    assert record["protocol"] == "cifar10-zero-shot-tiny-v1" and record["metrics"]["top1"]["chance"] == 10


def test_templates_of_ones_own_and_refusals(cifar, monkeypatch, tmp_path):
    Path("data/cifar10/train/cat").rename("data/cifar10/train/big_cat")
    start(monkeypatch, "data/cifar10/train", "data/cifar10/shards", "--templates", "a {}", "no {}")
    assert captions_of(4) == ["a big cat", "no big cat"]
    for words, message in (
        (("--templates", "a cat"), "'a cat' has no {} where the class name goes"),
        (("--set", "recognition/sets/cifar10.py"), "'big_cat' stands for no class of the set"),
        (("--set", "recognition/configs/zero_shot.py"), "asks 3 questions, not one"),
        (("--templates", "a {}"), "shards is already there"),
    ):
        with pytest.raises(UserError, match=message):
            start(monkeypatch, "data/cifar10/train", "data/cifar10/shards", *words)


def test_noise(cifar, monkeypatch, capsys):
    words = "data/cifar10/train", "data/cifar10/shards", "--templates", "a photo of a {}.", "{}!"
    for noise in (("--wrong", "1.5"), ("--missing", "-0.1"), ("--wrong", "0.6", "--missing", "0.6")):
        with pytest.raises(SystemExit):
            start(monkeypatch, *words, *noise)
        assert "together they are at most 1" in capsys.readouterr().err
    start(monkeypatch, *words, "--missing", "1")
    assert captions_of(6) == ["a photo of a cat.", "cat!"]
    assert captions_of(6, "noisy") == ["a photo of a thing.", "thing!"]


def test_a_method_that_reads_no_captions_says_none(cifar, monkeypatch):
    """The overlay states captions for CLIP and its kin."""
    start(monkeypatch, "data/cifar10/train", "data/cifar10/shards", "--set", "recognition/sets/cifar10.py")
    options = {"train_cfg.max_iters": 1, "train_dataloader.batch_size": 4}
    run(load_config("pretrain/configs/mae.py", data="docs/overlays/cifar10.py", options=options, work_dir="mae"), "x")
    assert read_checkpoint("mae/checkpoint")["captions"] is None
