"""Image and label folders: every fault is one line that names the file; ids mean what the data section says."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from datasets.images import read_bgr, read_plane
from datasets.segmentation import LabelIds, SegFolder, pair_files
from engine.errors import UserError
from tests.datasets.prepare.samples import save

CLASSES = ("floor", "wall", "ball")
CAMVID = Path(__file__).parents[2].parent / "shared" / "real" / "camvid"
PIPELINE = [{"type": "LoadImageStrict"}, {"type": "LoadLabels"}]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "sub/c"):
        save(tmp_path / f"images/train/{name}.png", rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        save(tmp_path / f"annotations/train/{name}.png", rng.integers(0, 3, (5, 7), dtype=np.uint8))
    return tmp_path


def build(folder, **changes):
    arguments = {
        "data_root": str(folder), "images": "images/train", "labels": "annotations/train", "classes": CLASSES,
        "pipeline": PIPELINE,
    }  # fmt: skip
    with DefaultScope.overwrite_default_scope("mmseg"):
        return DATASETS.build({"type": "SegFolder", **arguments, **changes})


def refusal(call):
    with pytest.raises(UserError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


def test_pairs_by_name_whatever_the_extension_or_depth(folder):
    (folder / "images/train/b.png").unlink()
    save(folder / "images/train/b.JPG", np.zeros((5, 7, 3), np.uint8))
    (folder / "images/train/notes.txt").write_text("not an image")
    (folder / "annotations/train/.hidden.png").write_text("not a label")
    pairs = pair_files(folder, "images/train", "annotations/train")
    names = [(Path(i).name, Path(a).name) for i, a in pairs]
    assert names == [("a.png", "a.png"), ("b.JPG", "b.png"), ("c.png", "c.png")]


def test_pairs_by_long_suffixes(tmp_path):
    for name in ("x", "y"):
        save(tmp_path / f"i/{name}_leftImg8bit.png", np.zeros((2, 2, 3), np.uint8))
        save(tmp_path / f"a/{name}_gtFine_labelTrainIds.png", np.zeros((2, 2), np.uint8))
        save(tmp_path / f"a/{name}_gtFine_color.png", np.zeros((2, 2, 3), np.uint8))
    pairs = pair_files(tmp_path, "i", "a", "_leftImg8bit.png", "_gtFine_labelTrainIds.png")
    assert [Path(p[1]).name for p in pairs] == ["x_gtFine_labelTrainIds.png", "y_gtFine_labelTrainIds.png"]


def test_loads_images_and_labels_unchanged(folder):
    dataset = build(folder)
    assert len(dataset) == 3
    for k, name in enumerate(("a", "b", "sub/c")):
        sample = dataset[k]
        rgb = np.array(Image.open(folder / f"images/train/{name}.png"))
        assert np.array_equal(sample["img"], rgb[..., ::-1])
        assert np.array_equal(sample["gt_seg_map"], np.array(Image.open(folder / f"annotations/train/{name}.png")))
        assert sample["ori_shape"] == (5, 7) and sample["seg_fields"] == ["gt_seg_map"]


def test_metainfo_carries_classes_and_palette(folder):
    palette = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    dataset = build(folder, palette=palette)
    assert dataset.metainfo["classes"] == list(CLASSES)
    assert dataset.metainfo["palette"] == palette
    assert "2 colours for 3 classes" in refusal(lambda: build(folder, palette=palette[:2]))


@pytest.mark.parametrize("part", ["images/train", "annotations/train"])
def test_missing_folder(folder, part):
    (folder / part).rename(folder / "elsewhere")
    message = refusal(lambda: build(folder))
    assert str(folder / part) in message and "no such folder" in message


def test_empty_folder(folder):
    for file in (folder / "images/train").rglob("*.png"):
        file.unlink()
    assert "no file ends in .png" in refusal(lambda: build(folder))


def test_image_without_label(folder):
    (folder / "annotations/train/b.png").unlink()
    message = refusal(lambda: build(folder))
    assert "images/train/b.png: no label" in message and "(1 such files beside 2 pairs)" in message


def test_label_without_image(folder):
    (folder / "images/train/sub/c.png").unlink()
    message = refusal(lambda: build(folder))
    assert "annotations/train/sub/c.png: no image" in message and "(1 such files beside 2 pairs)" in message


def test_two_images_of_one_name(folder):
    save(folder / "images/train/a.jpg", np.zeros((5, 7, 3), np.uint8))
    message = refusal(lambda: build(folder))
    assert "a.jpg" in message and "a.png" in message


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_image(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"{path} cannot be read" in refusal(lambda: read_bgr(str(path)))


def test_file_that_is_no_image(folder):
    (folder / "images/train/a.png").write_text("hello")
    assert "images/train/a.png cannot be read" in refusal(lambda: build(folder)[0])
    (folder / "annotations/train/b.png").write_bytes(b"")
    assert "annotations/train/b.png cannot be read" in refusal(lambda: build(folder)[1])


def test_file_that_vanishes(folder):
    dataset = build(folder)
    (folder / "images/train/a.png").unlink()
    assert "a.png cannot be read (No such file" in refusal(lambda: dataset[0])


def test_grey_image_becomes_three_equal_channels(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    save(tmp_path / "g.png", grey)
    assert np.array_equal(read_bgr(str(tmp_path / "g.png")), np.repeat(grey[..., None], 3, axis=-1))


def test_palette_png_gives_indices_and_not_colours(tmp_path):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image.save(tmp_path / "p.png")
    assert np.array_equal(read_plane(str(tmp_path / "p.png")), indices)


def test_label_in_colour(folder):
    save(folder / "annotations/train/a.png", np.zeros((5, 7, 3), np.uint8))
    assert "a.png cannot be read (has 3 channels" in refusal(lambda: build(folder)[0])


def test_label_of_another_size(folder):
    save(folder / "annotations/train/a.png", np.zeros((7, 5), np.uint8))
    message = refusal(lambda: build(folder)[0])
    assert "annotations/train/a.png: is 5x7 but its image" in message and "is 7x5" in message


@pytest.mark.parametrize(("value", "dtype"), [(3, np.uint8), (11, np.uint8), (254, np.uint8), (300, np.uint16)])
def test_label_id_out_of_range(folder, value, dtype):
    labels = np.zeros((5, 7), dtype)
    labels[4, 6] = value
    save(folder / "annotations/train/a.png", labels)
    message = refusal(lambda: build(folder)[0])
    assert "annotations/train/a.png" in message
    assert f"label id {value} is not allowed" in message
    assert "allowed: 0..2 and ignored 255" in message
    assert "data.classes" in message and "data.ignore" in message


def test_ignored_ids_become_255(folder):
    labels = np.array([[0, 1, 2, 11, 255, 2, 1]] * 5, np.uint8)
    save(folder / "annotations/train/a.png", labels)
    assert "label id 11" in refusal(lambda: build(folder)[0])
    mapped = build(folder, ignore=(11,))[0]["gt_seg_map"]
    assert mapped.dtype == np.uint8
    assert mapped[0].tolist() == [0, 1, 2, 255, 255, 2, 1]


def test_reduced_zero_label_shifts_ids_by_one(folder):
    save(folder / "annotations/train/a.png", np.array([[0, 1, 2, 3, 255, 3, 1]] * 5, np.uint8))
    dataset = build(folder, reduce_zero_label=True)
    assert dataset[0]["gt_seg_map"][0].tolist() == [255, 0, 1, 2, 255, 2, 0]
    save(folder / "annotations/train/a.png", np.full((5, 7), 4, np.uint8))
    assert "allowed: 1..3 and ignored 0, 255" in refusal(lambda: dataset[0])


def test_every_id_maps_as_a_plain_loop_says():
    ids = LabelIds.build(11, (11, 400), False)
    for value in range(0, 500):
        if value < 11:
            assert ids.apply(np.array([[value]]), "x").item() == value
        elif value in (11, 255, 400):
            assert ids.apply(np.array([[value]]), "x").item() == 255
        else:
            assert f"label id {value} is" in refusal(lambda value=value: ids.apply(np.array([[0, value]]), "x"))
    for value in (-1, 65536, 2**31 - 1):
        assert f"label id {value} is" in refusal(
            lambda value=value: ids.apply(np.array([[0, value]], dtype=np.int64), "x")
        )


def test_ignore_must_not_name_a_class():
    assert "id 2 is a class of its own" in refusal(lambda: LabelIds.build(3, (2,), False))
    assert "id -1 is negative" in refusal(lambda: LabelIds.build(3, (-1,), False))
    assert "id 70000" in refusal(lambda: LabelIds.build(3, (70000,), False))
    assert "0 names given" in refusal(lambda: LabelIds.build(0, (), False))


def test_indices_choose_a_subset(folder):
    assert [Path(build(folder, indices=2)[k]["img_path"]).name for k in range(2)] == ["a.png", "b.png"]
    assert len(build(folder, indices=2)) == 2


def test_mmseg_transforms_move_image_and_labels_together(folder):
    pipeline = [*PIPELINE, {"type": "Resize", "scale": (14, 10)}, {"type": "RandomCrop", "crop_size": (6, 6)},
                {"type": "RandomFlip", "prob": 1.0}, {"type": "PackSegInputs"}]  # fmt: skip
    np.random.seed(0)
    sample = build(folder, pipeline=pipeline)[0]
    assert sample["inputs"].shape == (3, 6, 6)
    assert sample["data_samples"].gt_sem_seg.data.shape == (1, 6, 6)
    assert set(sample["data_samples"].gt_sem_seg.data.unique().tolist()) <= {0, 1, 2}


@pytest.mark.skipif(not CAMVID.is_dir(), reason="real photographs are not here")
def test_camvid_reads_with_its_void_ignored():
    names = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
    splits = {"train": 367, "val": 101, "test": 233}
    for split, count in splits.items():
        dataset = build(CAMVID, images=f"images/{split}", labels=f"annotations/{split}", classes=names, ignore=(11,))
        assert isinstance(dataset, SegFolder) and len(dataset) == count
        sample = dataset[0]
        raw = np.array(Image.open(sample["seg_map_path"]))
        assert sample["img"].shape == (360, 480, 3)
        assert np.array_equal(sample["gt_seg_map"] == 255, raw == 11)
        assert np.array_equal(sample["gt_seg_map"][raw < 11], raw[raw < 11])
    message = refusal(lambda: build(CAMVID, images="images/train", labels="annotations/train", classes=names)[0])
    assert "label id 11 is not allowed" in message


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_end_on_their_objects_where_exif_turns_the_image(folder, orientation):
    """A label of the stored size was drawn on the stored pixels, one of the shown size on the shown image."""
    stored, label = np.zeros((5, 7, 3), np.uint8), np.zeros((5, 7), np.uint8)
    stored[1:3, 2:6], label[1:3, 2:6] = 250, 1
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(stored).save(folder / "images/train/a.png", exif=tags.tobytes())
    save(folder / "annotations/train/a.png", label)
    first = build(folder)[0]
    assert first["img"].shape == (7, 5, 3) and np.array_equal(first["gt_seg_map"] == 1, first["img"][..., 0] > 0)
    save(folder / "annotations/train/a.png", np.ascontiguousarray(first["gt_seg_map"]))
    assert np.array_equal(build(folder)[0]["gt_seg_map"], first["gt_seg_map"])


def test_one_class_is_no_task():
    with pytest.raises(UserError, match="with one class there is nothing to tell apart; name the background too"):
        LabelIds.build(1, (), False)
