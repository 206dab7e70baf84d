"""tools/prepare.py on images with captions: shards of a user's own, Karpathy's test splits of Flickr30K and COCO."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.captioned import CaptionedImages
from datasets.images import decode_image
from pretrain.data.dataset import ImageTextShards
from study.configure import load_config
from tests.datasets.prepare.samples import absolute, cut, manifest, photograph


def jpeg(seed: int, height: int = 8, width: int = 12) -> bytes:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    handle = io.BytesIO()
    Image.fromarray(image).save(handle, "JPEG")
    return handle.getvalue()


def shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def record(**captions: object) -> bytes:
    return json.dumps({"captions": captions}).encode()


@pytest.fixture
def web(tmp_path) -> Path:
    """Two shards of three samples each, as img2dataset writes them."""
    for s in range(2):
        members = {}
        for k in range(3):
            members[f"{s}{k}.jpg"] = jpeg(3 * s + k, height=8 + k)
            members[f"{s}{k}.txt"] = f"a thing {k}".encode()
            members[f"{s}{k}.json"] = record(enriched=[f"a fine thing {k}"]) if k else record()
        shard(tmp_path / f"web/0000{s}.tar", members)
    return tmp_path / "web"


def test_own_shards_become_an_overlay_that_trains(prepare, web, tmp_path):
    screen = prepare("image-text", web)
    assert "2 tars, 6 samples" in screen and "noisy 100%, enriched 67%" in screen
    assert "widths 12 to 12, heights 8 to 10" in screen and "6 samples in full" in screen
    cfg = load_config("pretrain/configs/clip.py", data=str(absolute(tmp_path / "data/web")))
    assert cfg.captions == "noisy"
    dataset = ImageTextShards(cfg.data.root, size=8, captions=cfg.captions, pattern=cfg.data.pattern)
    assert len(dataset) == 6 and dataset[0]["tokens"].any()
    assert "no file has changed" in prepare("image-text", web)


def test_shards_whose_captions_have_another_name(prepare, tmp_path):
    shard(tmp_path / "web/a.tar", {"1.jpg": jpeg(0), "1.json": record(human="a thing", rare="one")})
    shard(tmp_path / "web/b.tar", {"2.jpg": jpeg(1), "2.json": record(human="another")})
    prepare("image-text", tmp_path / "web")
    overlay = absolute(tmp_path / "data/web")
    assert load_config("pretrain/configs/clip.py", data=str(overlay)).captions == "human"


def test_damaged_samples_and_shards(prepare, web, tmp_path):
    shard(web / "00002.tar", {"20.jpg": jpeg(0)[:60], "20.txt": b"x", "21.txt": b"no image", "22.jpg": b"text"})
    shard(web / "00003.tar", {"30.jpg": jpeg(0), "30.json": b'{"captions": '})
    shard(web / "00004.tar", {"40.jpg": jpeg(0), "40.txt": b"x"})
    cut(web / "00004.tar", 0.2)
    screen, sentence = prepare.refused("image-text", web)
    assert "PROBLEM     corrupt sample: 4" in screen and "00002.tar:20: image cut short" in screen
    assert "PROBLEM     unreadable or truncated shard: 1" in screen and "00004.tar" in screen
    assert "5 problems" in sentence and not (tmp_path / "data/web/overlay.py").exists()


def test_shards_that_lie_where_they_belong(prepare, web, tmp_path):
    prepare("image-text", web, "--out", web)
    assert not (web / "shards").exists() and manifest(web)["data"]["root"] == str(web)
    assert "no file has changed" in prepare("image-text", web, "--out", web)
    _, sentence = prepare.refused("image-text", web, "--out", web / "inner")
    assert "lies inside" in sentence and not (web / "inner").exists()


def test_shards_without_captions_are_for_methods_of_images(prepare, tmp_path):
    shard(tmp_path / "web/a.tar", {"1.jpg": jpeg(0)})
    assert "only methods of images alone" in prepare("image-text", tmp_path / "web")


def test_no_shards(prepare, web, tmp_path):
    _, sentence = prepare.refused("image-text", web, "--pattern", "train-*.tar")
    assert "no shard train-*.tar" in sentence and not (tmp_path / "data").exists()
    shard(tmp_path / "none/a.tar", {"a.md": b"nothing"})
    assert "no sample: 1" in prepare.refused("image-text", tmp_path / "none")[0]


def splits(path: Path, entries: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": entries, "dataset": "x"}))


def entry(name: str, split: str, captions: int = 5, **more: object) -> dict:
    sentences = [{"raw": f"{name} is a thing, {k}.", "tokens": [name]} for k in range(captions)]
    return {"filename": name, "split": split, "sentences": sentences, **more}


@pytest.fixture
def flickr(tmp_path) -> Path:
    """Seven images, three of them of the test split, which the file lists in an order of its own."""
    entries = []
    for k, split in enumerate(("train", "test", "val", "test", "train", "test", "train")):
        name = f"{100 - k}.jpg"
        photograph(tmp_path / "flickr30k/flickr30k-images" / name, seed=k)
        entries.append(entry(name, split, captions=7 if k == 3 else 5))
    splits(tmp_path / "flickr30k/dataset_flickr30k.json", entries)
    return tmp_path / "flickr30k"


def test_flickr30k(prepare, flickr, tmp_path):
    screen, _ = prepare.refused("flickr30k", flickr)
    for text in ("7 images, published are 31,783", "test has 3 images listed, published are 1,000", "29,000", "1,014"):
        assert text in screen, text
    screen = prepare("flickr30k", flickr, "--allow-subset")
    assert "wrote 3 test images with 5 captions each" in screen and "3 images, 15 captions" in screen
    out = tmp_path / "data/flickr30k"
    data = {}
    exec(absolute(out).read_text(), data)
    images = CaptionedImages(data["data"]["root"], data["data"]["pattern"], data["captions"])
    assert images.reader.index.keys(0) == ["99", "97", "95"], "the split's order"
    assert images.texts[5:7] == ["97.jpg is a thing, 0.", "97.jpg is a thing, 1."] and len(images.texts) == 15
    assert images.owner == [0] * 5 + [1] * 5 + [2] * 5
    original = decode_image((flickr / "flickr30k-images/97.jpg").read_bytes())
    assert np.array_equal(list(images.images())[1], original)
    before = (out / "shards/test-00000.tar").stat().st_mtime_ns
    assert "no file has changed" in prepare("flickr30k", flickr, "--allow-subset")
    (out / "prepared.json").unlink()
    prepare("flickr30k", flickr, "--allow-subset")
    assert (out / "shards/test-00000.tar").stat().st_mtime_ns == before, "shards are written once"
    assert manifest(out)["subset"] is True


def test_flickr30k_with_faults(prepare, flickr):
    (flickr / "flickr30k-images/97.jpg").rename(flickr / "97.jpg")
    _, sentence = prepare.refused("flickr30k", flickr, "--allow-subset")
    assert "1 of 3 test images are missing" in sentence and "by request" in sentence
    (flickr / "97.jpg").rename(flickr / "flickr30k-images/97.jpg")
    cut(flickr / "flickr30k-images/97.jpg")
    screen, _ = prepare.refused("flickr30k", flickr, "--allow-subset")
    assert "PROBLEM     corrupt image: 1" in screen and "image cut short" in screen
    path = flickr / "dataset_flickr30k.json"
    splits(path, [entry("99.jpg", "test", captions=4)])
    assert "1 test images have fewer than 5 captions" in prepare.refused("flickr30k", flickr)[1]
    splits(path, [entry("99.jpg", "train")])
    assert "no test image" in prepare.refused("flickr30k", flickr)[1]
    path.write_text('{"images": [{"filename": 1}]}')
    assert "is not a file of Karpathy's splits" in prepare.refused("flickr30k", flickr)[1]
    path.unlink()
    _, sentence = prepare.refused("flickr30k", flickr)
    assert "caption_datasets.zip" in sentence and "--splits-file" in sentence


def test_coco_from_the_folders_of_either_year(prepare, tmp_path):
    entries = []
    for number, place in ((17, "val2014/COCO_val2014_000000000017.jpg"), (23, "train2017/000000000023.jpg")):
        photograph(tmp_path / "coco" / place, seed=number)
        name = f"COCO_val2014_{number:012d}.jpg"
        entries.append(entry(name, "test", captions=6, cocoid=number, filepath="val2014"))
    entries.append(entry("COCO_train2014_000000000001.jpg", "train", cocoid=1, filepath="train2014"))
    splits(tmp_path / "karpathy.json", entries)
    words = ("coco-captions", tmp_path / "coco", "--splits-file", tmp_path / "karpathy.json")
    screen, _ = prepare.refused(*words)
    assert "test has 2 images listed, published are 5,000" in screen
    assert "2 images, 10 captions" in prepare(*words, "--allow-subset")
    (tmp_path / "coco/train2017/000000000023.jpg").unlink()
    _, sentence = prepare.refused(*words, "--allow-subset", "--out", "data/other")
    assert "1 of 2 test images are missing" in sentence and "val2014" in sentence
