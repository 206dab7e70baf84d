"""Every sample of a packed COCO file is the one that mmdet's own data set makes of the file that it was packed from."""

import itertools
import json
import multiprocessing
import pickle
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset
from PIL import Image

from datasets import checked_annotations
from datasets.detection import CocoFolder
from engine.errors import UserError
from tests.datasets.coco_samples import CLASSES, SIZE, good, thing

FILTERS = (None, {"filter_empty_gt": True}, {"filter_empty_gt": True, "min_size": 24}, {"min_size": 24})
INDICES = (None, 2, -2, [1, 0, 1])


def rich(folder: Path) -> dict:
    """Crowds, run lengths, floats, several polygons, a box without an object, images of one class, of none and small
    ones, ids in no order; and what has to be mended."""
    content = good()
    Image.new("RGB", (40, 20)).save(folder / "test/small.png")
    Image.new("RGB", SIZE[::-1]).save(folder / "test/none.png")
    content["images"] += [{"id": 40, "file_name": "small.png", "height": 20, "width": 40, "license": 3},
                          {"id": 9, "file_name": "none.png", "height": SIZE[0], "width": SIZE[1]}]  # fmt: skip
    content["images"].reverse()
    runs = {"size": [20, 40], "counts": [25, 10, 10, 10, 10, 10, 725]}
    crowd = {**thing(50, 40, 3, (1, 5, 3, 10)), "iscrowd": 1, "segmentation": runs}
    content["annotations"][0].update(segmentation=[[1.25, 2.5, 9.1, 2, 8, 9.75], [12, 12, 20, 12, 20.5, 19.25]],
                                     bbox=[1.25, 2.1, 19.25, 17.15], area=90.125)  # fmt: skip
    content["annotations"][1].update(category_id=7, bbox=[3, 3, 0.5, 9], segmentation=[[3, 3, 3.5, 3, 3.5, 12, 3, 12]])
    content["annotations"].insert(0, crowd)
    del content["annotations"][3]["area"]
    return content


def read(kind, folder: Path, file: str, **arguments) -> CocoDataset:
    arguments = {"metainfo": {"classes": list(CLASSES)}, "data_prefix": {"img": "test"}, **arguments}
    return kind(ann_file=file, data_root=str(folder), pipeline=[], **arguments)


def assert_equal(ours: CocoFolder, theirs: CocoDataset) -> None:
    assert len(ours) == len(theirs) and (ours.cat_ids, ours.cat2label) == (theirs.cat_ids, theirs.cat2label)
    for k in [*range(len(theirs)), *([-1] if len(theirs) else [])]:
        assert repr(ours.get_data_info(k)) == repr(theirs.get_data_info(k)), "down to int or float"
        assert ours.get_cat_ids(k) == theirs.get_cat_ids(k)
    shapes = [(info["height"], info["width"]) for info in map(theirs.get_data_info, range(len(theirs)))]
    assert ours.shapes.tolist() == [list(shape) for shape in shapes], "by which batches are grouped"


@pytest.fixture
def file(coco_folder) -> str:
    (coco_folder / "test.json").write_text(json.dumps(rich(coco_folder)))
    return str(coco_folder / "test.json")


def test_all_samples_are_those_of_mmdet(coco_folder, file):
    counted = set()
    for test_mode, rules, indices, classes in itertools.product(
        (True, False), FILTERS, INDICES, (CLASSES, CLASSES[1:])
    ):
        how = {"test_mode": test_mode, "filter_cfg": rules, "indices": indices, "metainfo": {"classes": list(classes)}}
        ours = read(CocoFolder, coco_folder, file, **how)
        mended = ours.metainfo["ann_file"]
        assert mended != file and len(json.loads(Path(mended).read_text())["annotations"]) == 13
        assert_equal(ours, read(CocoDataset, coco_folder, mended, **how))
        counted.add(len(ours))
    assert counted == {2, 3, 4, 5, 6}
    many = {"data_prefix": {"img": "test", "seg": "maps"}, "return_classes": True, "caption_prompt": {"cat": {}}}
    ours, theirs = read(CocoFolder, coco_folder, file, **many), read(CocoDataset, coco_folder, mended, **many)
    assert_equal(ours, theirs)
    assert_equal(ours.get_subset([4, 1]), theirs.get_subset([4, 1]))
    assert_equal(pickle.loads(pickle.dumps(ours)), theirs)
    assert len(pickle.dumps(ours.images)) < 500, "what is sent to a worker is a name"
    for data in (ours, theirs):
        data.get_subset_(3)
    assert_equal(ours, theirs)


def test_a_second_start_parses_nothing_and_damage_is_made_good_with_a_word(coco_folder, file, monkeypatch, capsys):
    before = [repr(one) for one in map(read(CocoFolder, coco_folder, file).get_data_info, range(6))]
    with monkeypatch.context() as patch:
        patch.setattr(checked_annotations, "read_annotations", None)
        ours = read(CocoFolder, coco_folder, file)
    (packed,) = (coco_folder.parent / f".{coco_folder.name}.index").glob("*.npy")
    assert str(packed) in Path("/proc/self/maps").read_text() and not ours.images.text.flags.writeable
    for damage in (lambda data: data[:-9], lambda data: data[:-30] + b"?" + data[-29:]):
        packed.write_bytes(damage(packed.read_bytes()))
        again = read(CocoFolder, coco_folder, file)
        assert [repr(one) for one in map(again.get_data_info, range(6))] == before
        assert f"{packed} does not fit its checksum; it is made again" in capsys.readouterr().out
    (outline,) = packed.parent.glob("*.outline.json")
    outline.write_text("{}")
    assert len(read(CocoFolder, coco_folder, file)) == 6


def test_ranks_that_start_together_read_the_file_once(coco_folder, file, in_child):
    context, whole = multiprocessing.get_context("fork"), checked_annotations.read_annotations
    gate = context.Barrier(3)

    def parse(path):
        with open(coco_folder / "parsed", "a") as log:
            log.write(f"{path}\n")
        return whole(path)

    def start() -> None:
        checked_annotations.read_annotations = parse
        gate.wait(30)
        assert len(read(CocoFolder, coco_folder, file)) == 6

    ranks = [context.Process(target=start) for _ in range(3)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join()
    assert [one.exitcode for one in ranks] == [0, 0, 0]
    assert (coco_folder / "parsed").read_text().splitlines() == [file]


def test_what_a_packed_file_cannot_do_is_refused(coco_folder, file):
    for words in ({"serialize_data": False}, {"proposal_file": "x.pkl"}):
        with pytest.raises(UserError, match="leave proposal_file and serialize_data out"):
            read(CocoFolder, coco_folder, file, **words)
    with pytest.raises(UserError, match="has no object of the classes"):
        content = good()
        content["annotations"] = [one for one in content["annotations"] if one["category_id"] == 7]
        Path(file).write_text(json.dumps(content))
        read(CocoFolder, coco_folder, file, metainfo={"classes": ["dog"]})
