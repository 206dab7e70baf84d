"""tools/prepare.py on ImageNet-1K's layouts: class folders, and a flat validation folder with each label file."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from datasets.class_folders import folder_images
from datasets.prepare import imagenet
from pretrain.data.dataset import ImageFolder
from tests.datasets.prepare.samples import cut, manifest, photograph

CLASSES = ("n01440764", "n01443537", "n02101388")


@pytest.fixture
def source(tmp_path) -> Path:
    """Two training images of each class; six flat validation images, image k of class (k - 1) % 3."""
    for name in CLASSES:
        for k in range(2):
            photograph(tmp_path / f"inet/train/{name}/{name}_{k}.JPEG".replace("JPEG", "jpeg"), seed=k).rename(
                tmp_path / f"inet/train/{name}/{name}_{k}.JPEG"
            )
    for k in range(1, 7):
        path = photograph(tmp_path / f"inet/val/ILSVRC2012_val_{k:08d}.jpeg", seed=k)
        path.rename(path.with_suffix(".JPEG"))
    return tmp_path / "inet"


def truth(k: int) -> str:
    return CLASSES[(k - 1) % 3]


def solution(folder: Path) -> None:
    """Kaggle's file, in an order of its own."""
    rows = [f"ILSVRC2012_val_{k:08d},{truth(k)} 10 20 30 40 " for k in (5, 2, 1, 6, 3, 4)]
    (folder / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")


def synset_lines(folder: Path) -> None:
    """tensorflow/models' file: a line for each of the release's images."""
    text = "\n".join(truth(k) for k in range(1, 7)) + "\n"
    (folder / "imagenet_2012_validation_synset_labels.txt").write_text(text)


def kit(folder: Path) -> None:
    """The development kit's numbers, which follow an order of classes of its own."""
    data = folder / "ILSVRC2012_devkit_t12/data"
    data.mkdir(parents=True)
    numbers = {name: number for number, name in enumerate(reversed(CLASSES), start=1)}
    lines = "\n".join(str(numbers[truth(k)]) for k in range(1, 7))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(lines + "\n")
    rows = np.zeros(3, dtype=[("ILSVRC2012_ID", object), ("WNID", object)])
    for row, (name, number) in zip(rows, numbers.items(), strict=True):
        row["ILSVRC2012_ID"], row["WNID"] = number, name
    savemat(data / "meta.mat", {"synsets": rows})


@pytest.mark.parametrize("labels", [solution, synset_lines, kit])
def test_a_flat_validation_folder_is_sorted(prepare, source, tmp_path, labels):
    labels(source)
    screen, _ = prepare.refused("imagenet", source)
    assert "train has 6 images, published are 1,281,167" in screen and "val has 6 images" in screen
    assert "classes has 3 folders, published are 1,000" in screen
    screen = prepare("imagenet", source, "--allow-subset")
    assert "linked 6 images" in screen and "PROBLEM" not in screen
    out = tmp_path / "data/imagenet"
    for k in range(1, 7):
        link = out / "val" / truth(k) / f"ILSVRC2012_val_{k:08d}.JPEG"
        assert link.resolve() == source / f"val/ILSVRC2012_val_{k:08d}.JPEG"
    assert ImageFolder.scan(out / "train")[0] == list(CLASSES)
    listed, names = folder_images(out / "val")
    assert names == list(CLASSES) and [number for _, number in listed] == [0, 0, 1, 1, 2, 2]
    assert manifest(out)["published"]["val"] == {"images": 50_000}
    assert "no file has changed" in prepare("imagenet", source, "--allow-subset")


def test_sorted_already_and_kaggles_folders(prepare, source, tmp_path):
    for k in range(1, 7):
        path = source / f"val/ILSVRC2012_val_{k:08d}.JPEG"
        (source / "val" / truth(k)).mkdir(exist_ok=True)
        path.rename(source / "val" / truth(k) / path.name)
    inner = tmp_path / "kaggle/ILSVRC/Data/CLS-LOC"
    inner.parent.mkdir(parents=True)
    source.rename(inner)
    prepare("imagenet", tmp_path / "kaggle", "--allow-subset")
    assert (tmp_path / "data/imagenet/val").resolve() == inner / "val"


def test_what_is_missing_is_named(prepare, source, tmp_path):
    _, sentence = prepare.refused("imagenet", source)
    assert "no LOC_val_solution.csv" in sentence and "put one of them into" in sentence
    solution(source)
    photograph(source / "val/ILSVRC2012_val_00000007.jpg")
    assert "has no class for 1 of 7 images" in prepare.refused("imagenet", source)[1]
    (source / "val/ILSVRC2012_val_00000007.jpg").unlink()
    (source / "LOC_val_solution.csv").write_text("a,b\n1,2\n")
    assert "cannot be read as labels" in prepare.refused("imagenet", source)[1]
    (source / "val").rename(source / "away")
    _, sentence = prepare.refused("imagenet", source)
    assert "no folder val" in sentence and "download page" in sentence
    (source / "train").rename(source / "tars")
    assert "no folder train" in prepare.refused("imagenet", source)[1]
    (source / "train").mkdir(), (source / "val").mkdir()
    assert "holds no class folder" in prepare.refused("imagenet", source)[1]


def test_damaged_and_missing_images(prepare, source, monkeypatch):
    solution(source)
    cut(source / f"train/{CLASSES[0]}/{CLASSES[0]}_1.JPEG")
    for path in (source / "train" / CLASSES[2]).iterdir():
        path.unlink()
    (source / "train/n09999999").mkdir()
    screen, sentence = prepare.refused("imagenet", source, "--allow-subset")
    assert (
        "PROBLEM     corrupt image: 1" in screen and f"{CLASSES[0]}_1.JPEG cannot be read (image cut short)" in screen
    )
    assert "PROBLEM     class folder without an image: 2" in screen
    assert "PROBLEM     class folder without its counterpart: 1" in screen and "n09999999 is missing in" in screen
    assert "4 problems" in sentence


def test_as_many_damaged_images_as_training_tolerates_are_noted(prepare, source, monkeypatch):
    solution(source)
    cut(source / f"train/{CLASSES[0]}/{CLASSES[0]}_1.JPEG")
    monkeypatch.setattr(imagenet, "TOLERATED", 1 / 6)
    assert "note        corrupt image: 1" in prepare("imagenet", source, "--allow-subset")
