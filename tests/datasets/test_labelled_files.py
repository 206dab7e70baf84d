"""Paths and labels in arrays read like the list that they stand for, and take a fraction of its memory."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.depth import DepthFolder
from datasets.labelled_files import LabelledFiles
from datasets.segmentation import SegFolder


def test_they_read_like_a_list():
    names = ["a/1.png", "b/ü b.jpg", os.fsdecode(b"b/\xff.png"), "", "c/long" + "x" * 300 + ".png"]
    pairs = [(name, label * 1000) for label, name in enumerate(names)]
    files = LabelledFiles((Path(name) if name else "", label) for name, label in pairs)
    assert [*files] == pairs and len(files) == 5 and files[-1] == pairs[-1] and files[np.int64(1)] == pairs[1]
    assert [*pickle.loads(pickle.dumps(files))] == pairs and len(LabelledFiles([])) == 0
    for beyond in (5, -6):
        with pytest.raises(IndexError):
            files[beyond]


def test_they_hold_no_object_for_an_image():
    pairs = [(f"train/n{k % 10:08d}/n{k:08d}.JPEG", k % 10) for k in range(20_000)]
    held = sum(array.nbytes for array in vars(LabelledFiles(pairs)).values())
    assert held == sum(len(path) + 12 for path, _ in pairs)
    assert held * 3 < sum(sys.getsizeof(pair) + sys.getsizeof(pair[0]) for pair in pairs)


@pytest.mark.parametrize("kind", [SegFolder, DepthFolder])
def test_pairs_of_files_are_kept_in_mmengines_arrays_alone(tmp_path, kind):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for k in range(3):
            (tmp_path / folder / f"{k}.png").touch()
    if kind is SegFolder:
        data = SegFolder(str(tmp_path), "images", "labels", classes=["a", "b"])
    else:
        data = DepthFolder(str(tmp_path), "images", "labels")
    assert len(data) == 3 and data.get_data_info(2)["img_path"] == str(tmp_path / "images/2.png")
    assert not [name for name, value in vars(data).items() if isinstance(value, list) and len(value) == 3]
