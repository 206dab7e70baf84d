"""tools/prepare.py on depth: a user's folders, GLPDepth's folders and lists, NYU Depth V2's labelled .mat file."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets.depth import DepthFolder
from datasets.prepare import nyuv2
from study.configure import load_config
from tests.datasets.prepare.samples import absolute, cut, manifest, photograph, save

SPLITS = {"train": 3, "val": 2}


def depth(path: Path, metres: float = 2.0, height: int = 8, width: int = 12) -> Path:
    """A 16-bit map in millimetres, a quarter of it not measured."""
    plane = np.full((height, width), round(metres * 1000), np.uint16)
    plane[: height // 4] = 0
    return save(path, plane)


@pytest.fixture
def mine(tmp_path) -> Path:
    for split, count in SPLITS.items():
        for k in range(count):
            photograph(tmp_path / f"mine/rgb/{split}/{k}.jpg", seed=k)
            depth(tmp_path / f"mine/depth/{split}/{k}.png", 1.5 + k)
    return tmp_path / "mine"


def test_own_folders_become_an_overlay_that_trains(prepare, mine, tmp_path):
    screen = prepare("depth-folder", mine)
    assert "3 images with depth" in screen and "1.5 to 3.5 m, half below 2.5 m; 75% of the pixels" in screen
    out = tmp_path / "data/mine"
    assert (out / "images/train").resolve() == mine / "rgb/train"
    cfg = load_config("depth/configs/random.py", data=str(absolute(out)))
    dataset = cfg.train_dataloader.dataset.to_dict()
    found = DepthFolder(**{key: value for key, value in dataset.items() if key not in ("type", "pipeline")})
    assert len(found) == 3 and found.depth_scale == 1000.0
    assert "no file has changed" in prepare("depth-folder", mine)


def test_each_fault_is_found(prepare, mine):
    cut(mine / "rgb/train/0.jpg")
    depth(mine / "depth/train/1.png", width=13)
    save(mine / "depth/train/2.png", np.full((8, 12), 200, np.uint8))
    save(mine / "depth/val/0.png", np.zeros((8, 12), np.uint16))
    depth(mine / "depth/val/1.png", 12.0)
    screen, sentence = prepare.refused("depth-folder", mine)
    assert "PROBLEM     unreadable or truncated image: 1" in screen
    assert "PROBLEM     depth map that cannot be used: 4" in screen
    assert "is 13x8 but its image" in screen and "unsigned 16-bit" in screen and "no pixel between" in screen
    assert "5 problems" in sentence


def test_a_wrong_scale_shows(prepare, mine, tmp_path):
    screen, _ = prepare.refused("depth-folder", mine, "--depth-scale", 100)
    assert "depth map that cannot be used: 5" in screen and "no pixel between" in screen
    plane = np.full((8, 12), 2000, np.uint16)
    plane[:4] = 20_000
    save(mine / "depth/train/0.png", plane)
    screen = prepare("depth-folder", mine)
    assert "2 to 20 m" not in screen and "1.5 to 20 m" in screen
    assert "10% of the measured pixels are farther than 10 m" in screen  # half of one map in five
    screen = prepare("depth-folder", mine, "--max-depth", 30)
    assert "farther" not in screen and manifest(tmp_path / "data/mine")["data"]["max_depth"] == 30.0


def glpdepth(root: Path) -> Path:
    """sync/ with two scenes, official_splits/test with one, lists as published; one pair is in no list."""
    for split, tree, scenes in (
        ("train", "sync", {"kitchen_0028b": 3, "office_0012": 2}),
        ("test", "official_splits/test", {"bathroom": 2}),
    ):
        rows = []
        for scene, count in scenes.items():
            for k in range(count):
                photograph(root / f"nyu/{tree}/{scene}/rgb_{k:05d}.jpg", 480, 640, seed=k)
                depth(root / f"nyu/{tree}/{scene}/sync_depth_{k:05d}.png", 2.0, 480, 640)
                rows.append(
                    f"/{scene}/rgb_{k:05d}.jpg /{scene}/sync_depth_{k:05d}.png" + " 518.8579" * (split == "test")
                )
        lists = root / "nyu" / f"{split}_list.txt"
        lists.write_text("\n".join(rows if split == "test" else rows[1:]) + "\n")
    return root / "nyu"


def test_glpdepth_folders(prepare, tmp_path):
    source = glpdepth(tmp_path)
    screen, _ = prepare.refused("nyuv2", source)
    assert "train has 4 images with depth, published are 24,231" in screen and "published are 654" in screen
    screen = prepare("nyuv2", source, "--allow-subset")
    assert "linked 4 pairs" in screen and "train_list.txt" in screen
    out = tmp_path / "data/nyuv2"
    found = sorted(str(path.relative_to(out)) for path in (out / "images/train").rglob("*.jpg"))
    expected = ["kitchen_0028b/00001", "kitchen_0028b/00002", "office_0012/00000", "office_0012/00001"]
    assert found == [f"images/train/{name}.jpg" for name in expected]
    link = out / "depth/train/kitchen_0028b/00002.png"
    assert link.is_symlink() and link.resolve() == source / "sync/kitchen_0028b/sync_depth_00002.png"
    cfg = load_config("depth/configs/mae.py", scale="paper").train_dataloader.dataset
    assert len(DepthFolder(str(out), cfg.images, cfg.depths, cfg.depth_scale, cfg.max_depth)) == 4
    assert "no file has changed" in prepare("nyuv2", source, "--allow-subset")


def test_without_lists_the_user_learns_where_they_are(prepare, tmp_path):
    source = glpdepth(tmp_path)
    (tmp_path / "lists").mkdir()
    for name in ("train_list.txt", "test_list.txt"):
        (source / name).rename(tmp_path / "lists" / name)
    screen, _ = prepare.refused("nyuv2", source)
    assert "5 images with depth" in screen and "vinvino02/GLPDepth" in screen and "--lists" in screen
    screen = prepare("nyuv2", source, "--allow-subset", "--lists", tmp_path / "lists", "--out", "data/listed")
    assert "4 images with depth" in screen


def test_what_a_list_names_must_be_there(prepare, tmp_path):
    source = glpdepth(tmp_path)
    (source / "sync/office_0012/rgb_00001.jpg").unlink()
    photograph(source / "official_splits/test/bathroom/rgb_00000.jpg", 48, 64)
    screen, _ = prepare.refused("nyuv2", source, "--allow-subset")
    assert "PROBLEM     file of the list that is not there: 1" in screen and "rgb_00001.jpg" in screen
    assert "image that is not 640 x 480: 1" in screen and "depth map that cannot be used: 1" in screen
    (source / "train_list.txt").write_text("one\n")
    assert "is no list of pairs" in prepare.refused("nyuv2", source, "--out", "data/other")[1]


def labelled(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """nyu_depth_v2_labeled.mat (v7.3, arrays as MATLAB stores them) with 4 images, and splits.mat.

    Returns: images [4, 480, 640, 3] and raw depth [4, 480, 640] in metres.
    """
    rng = np.random.default_rng(0)
    images = np.tile(rng.integers(0, 256, (4, 48, 64, 3), dtype=np.uint8), (1, 10, 10, 1))
    metres = np.tile(rng.uniform(0.7, 9.9, (4, 48, 64)).astype(np.float32), (1, 10, 10))
    folder.mkdir(parents=True)
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = images.transpose(0, 3, 2, 1)
        file["rawDepths"] = metres.transpose(0, 2, 1)
        file["depths"] = np.zeros((4, 640, 480), np.float32)
        names = file.create_dataset("sceneTypes", (1, 4), dtype=h5py.ref_dtype)
        for n, scene in enumerate(("kitchen", "kitchen", "office", "bathroom")):
            text = file.create_dataset(f"#refs#/{n}", data=np.array([[ord(c)] for c in scene], np.uint16))
            names[0, n] = text.ref
    savemat(folder / "splits.mat", {"trainNdxs": np.array([[1], [4]]), "testNdxs": np.array([[2], [3]])})
    return images, metres


def test_the_labelled_file(prepare, tmp_path):
    images, metres = labelled(tmp_path / "nyu")
    screen, _ = prepare.refused("nyuv2", tmp_path / "nyu")
    assert "train has 2 images with depth, published are 24,231; nyu_depth_v2_labeled.mat has the official" in screen
    screen = prepare("nyuv2", tmp_path / "nyu/nyu_depth_v2_labeled.mat", "--allow-subset", "--out", "data/file")
    assert "converted 2 pairs of nyu_depth_v2_labeled.mat for test" in screen
    out = tmp_path / "data/file"
    assert sorted(p.relative_to(out / "images").as_posix() for p in (out / "images").rglob("*.png")) == [
        "test/kitchen/00001.png", "test/office/00002.png", "train/bathroom/00003.png", "train/kitchen/00000.png",
    ]  # fmt: skip
    for split, scene, n in (("test", "kitchen", 1), ("test", "office", 2), ("train", "bathroom", 3)):
        image = np.array(Image.open(out / f"images/{split}/{scene}/{n:05d}.png"))
        assert np.array_equal(image[7:474, 7:632], images[n, 7:474, 7:632])
        assert image.sum() == images[n, 7:474, 7:632].sum(), "the white border becomes black"
        stored = np.array(Image.open(out / f"depth/{split}/{scene}/{n:05d}.png"))
        assert stored.dtype == np.uint16 and np.abs(stored - 1000.0 * metres[n]).max() <= 1.001


def test_a_conversion_is_made_once_and_anew_when_it_was_interrupted(prepare, tmp_path, monkeypatch):
    labelled(tmp_path / "nyu")
    writer = nyuv2.write_depth
    calls = []

    def broken(path, stored):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        writer(path, stored)

    monkeypatch.setattr(nyuv2, "write_depth", broken)
    with pytest.raises(KeyboardInterrupt):
        prepare("nyuv2", tmp_path / "nyu", "--allow-subset")
    out = tmp_path / "data/nyuv2"
    assert not (out / "depth/train").exists() and not (out / "prepared.json").exists()
    assert "PROBLEM" not in prepare("nyuv2", tmp_path / "nyu", "--allow-subset")
    count = len(calls)
    (out / "prepared.json").unlink()  # as if the check had been interrupted
    prepare("nyuv2", tmp_path / "nyu", "--allow-subset")
    assert len(calls) == count and (out / "prepared.json").is_file()
    assert not list(out.rglob("*.new")) and not list(out.rglob(".*.new"))


def test_training_by_sync_and_testing_by_the_labelled_file(prepare, tmp_path):
    source = glpdepth(tmp_path)
    (source / "official_splits/test").rename(source / "away")
    _, sentence = prepare.refused("nyuv2", source, "--allow-subset")
    assert "no nyu_depth_v2_labeled.mat" in sentence and "official_splits/test" in sentence and "page" in sentence
    labelled(tmp_path / "mat")
    for name in ("nyu_depth_v2_labeled.mat", "splits.mat"):
        (source / name).symlink_to(tmp_path / "mat" / name)
    screen = prepare("nyuv2", source, "--allow-subset")
    assert "linked 4 pairs" in screen and "converted 2 pairs" in screen


def test_a_damaged_mat_file(prepare, tmp_path):
    labelled(tmp_path / "nyu")
    cut(tmp_path / "nyu/nyu_depth_v2_labeled.mat", 0.3)
    assert "cannot be read as NYU Depth V2" in prepare.refused("nyuv2", tmp_path / "nyu", "--allow-subset")[1]
    (tmp_path / "nyu/splits.mat").unlink()
    assert "no splits.mat" in prepare.refused("nyuv2", tmp_path / "nyu", "--out", "data/other")[1]
