"""A finished run tested again, and the files of what it predicts."""

import json
import shutil

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from safetensors.torch import load_file, save_file

from engine.errors import UserError
from reports.records import read_record
from study.finished import Finished
from study.retest import test_again as again

TASKS = ("upernet", "mask_rcnn", "depth")


@pytest.fixture
def tested(finished, in_child, tmp_path):
    """`tested("upernet", data=...)`: the record and the folder of a second test of a finished run."""

    def call(task, **arguments):
        work_dir = tmp_path / "again"
        assert in_child(lambda: again(finished(task), "again", work_dir=work_dir, **arguments)) == 0
        return read_record(work_dir / "result.json"), work_dir

    return call


@pytest.mark.parametrize("task", TASKS)
def test_the_same_numbers_and_files_without_checkpoint_and_training_images(
    task, tested, finished, scenes_root, tmp_path
):
    """From a copy of the scenes that has nothing but the test split."""
    kinds = {"upernet": "seg/{}", "depth": "depth/{}", "mask_rcnn": "coco/instances_{}.json"}
    root = tmp_path / "scenes"
    for name in ("images/{}", kinds[task]):
        source, target = (top / name.format("test") for top in (scenes_root, root))
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    first = read_record(finished(task) / "result.json")
    data = {**Finished.read(finished(task)).cfg.data.to_dict(), "root": str(root)}
    data.pop("classes", None) if task == "mask_rcnn" else None
    (tmp_path / "moved.py").write_text(f"data = {data!r}\n")
    record, folder = tested(task, data=tmp_path / "moved.py", save_predictions=True)
    assert record["metrics"] == first["metrics"] and record["command"] == "again"
    same = {key for key in first if record[key] == first[key]}
    assert {"protocol", "dataset", "config_hash", "checkpoint", "cost", "settings"} <= same
    before, now = ({path.relative_to(top): path.read_bytes() for path in (top / "predictions").rglob("*.*")}
                   for top in (finished(task), folder))  # fmt: skip
    assert before == now and len(now) == (2 if task == "mask_rcnn" else 9)


def maps(folder, suffix=".png"):
    return {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.glob(f"*{suffix}"))}


def test_class_maps_give_the_record_s_miou(finished, scenes_root):
    folder = finished("upernet")
    found, truth = maps(folder / "predictions"), maps(scenes_root / "seg/test")
    assert [*found] == [*truth] and all(plane.dtype == np.uint8 for plane in found.values())
    index = json.loads((folder / "predictions/index.json").read_text())
    assert index["values"] == {name: k for k, name in enumerate(Finished.read(folder).cfg.data.classes)}
    inside, union, all_of = (np.zeros(8) for _ in range(3))
    for name, plane in found.items():
        for k in range(8):
            inside[k] += ((plane == k) & (truth[name] == k)).sum()
            union[k] += ((plane == k) | (truth[name] == k))[truth[name] != 255].sum()
            all_of[k] += (truth[name] == k).sum()
    metrics = read_record(folder / "result.json")["metrics"]
    assert metrics["mIoU"]["value"] == pytest.approx(100 * np.mean(inside[union > 0] / union[union > 0]), abs=6e-3)
    assert metrics["aAcc"]["value"] == pytest.approx(100 * inside.sum() / all_of.sum(), abs=6e-3)
    assert metrics["mIoU"]["value"] > 10, "more than one class is predicted"


def test_depth_maps_give_the_record_s_errors(finished, scenes_root):
    folder = finished("depth")
    found, truth = maps(folder / "predictions"), maps(scenes_root / "depth/test")
    assert [*found] == [*truth] and all(plane.dtype == np.uint16 for plane in found.values())
    assert json.loads((folder / "predictions/index.json").read_text())["units_per_metre"] == 1000
    squares, relative = [], []
    for name, plane in found.items():
        depth, target = plane / 1000.0, truth[name] / 1000.0
        valid = (target > 1e-3) & (target < 10)
        squares.append(np.sqrt(((depth - target)[valid] ** 2).mean()))
        relative.append((abs(depth - target) / target)[valid].mean())
    metrics = read_record(folder / "result.json")["metrics"]
    assert metrics["rmse"]["value"] == pytest.approx(np.mean(squares), abs=5e-4)  # half a millimetre
    assert metrics["abs_rel"]["value"] == pytest.approx(np.mean(relative), abs=5e-4)


def test_detections_give_the_record_s_ap(finished, scenes_root):
    folder = finished("mask_rcnn")
    found = json.loads((folder / "predictions/detections.json").read_text())
    index = json.loads((folder / "predictions/index.json").read_text())
    truth = COCO(str(scenes_root / "coco/instances_test.json"))
    assert index["categories"] == [{"id": c["id"], "name": c["name"]} for c in truth.dataset["categories"]]
    assert [(i["id"], i["file_name"]) for i in index["images"]] == [(i, truth.imgs[i]["file_name"]) for i in truth.imgs]
    metrics = read_record(folder / "result.json")["metrics"]
    for kind, name in (("bbox", "box_AP"), ("segm", "mask_AP")):
        evaluation = COCOeval(truth, truth.loadRes([dict(one) for one in found]), kind)
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
        assert metrics[name]["value"] == pytest.approx(100 * evaluation.stats[0], abs=5.1e-2)  # mmdet rounds to 0.1
    assert metrics["box_AP"]["value"] > 0


def test_other_data_are_another_protocol(tested, finished, scenes_root, tmp_path):
    data = {**Finished.read(finished("upernet")).cfg.data.to_dict(), "name": "other", "splits": {"test": "val"}}
    (tmp_path / "other.py").write_text(f"data = {data!r}\n")
    record, _ = tested("upernet", data=tmp_path / "other.py")
    first = read_record(finished("upernet") / "result.json")
    assert (record["dataset"], record["protocol"]) == ("other", f"other-from-{first['protocol']}")
    assert (first["tested_on"], record["tested_on"]) == ("test", "val")
    assert record["metrics"] != first["metrics"] and len(record["samples"]) == 4


@pytest.mark.parametrize(
    "task, change, said",
    [
        ("upernet", {"classes": list("abcdefgh")}, "has the classes a, b, c, d, e, f, g, h, but the run learned floor"),
        ("upernet", {"root": "nowhere"}, "there is no folder nowhere"),
        ("mask_rcnn", {"classes": ["cube", "sphere"]}, "has the classes cube, sphere, but the run learned sphere"),
        ("depth", {"max_depth": 80.0}, "scores depths up to 80.0 m, but the run's model gives up to 10.0 m"),
    ],
)
def test_data_that_do_not_fit_are_refused(task, change, said, finished, tmp_path):
    data = {**Finished.read(finished(task)).cfg.data.to_dict(), **change}
    (tmp_path / "mine.py").write_text(f"data = {data!r}\n")
    with pytest.raises(UserError, match=said):
        again(finished(task), "x", data=tmp_path / "mine.py", work_dir=tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_folders_that_are_no_finished_run(finished, tmp_path):
    with pytest.raises(UserError, match="is not a finished run of a fine-tuned model: it has no result.json"):
        Finished.read(tmp_path)
    run = shutil.copytree(finished("depth"), tmp_path / "run")
    weights = load_file(run / "model.safetensors")
    weights.pop("backbone.encoder.pos_embed")
    save_file(weights, run / "model.safetensors")
    with pytest.raises(UserError, match="backbone.encoder.pos_embed"):
        Finished.read(run).model()
    (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(UserError, match="model.safetensors is damaged"):
        Finished.read(run).model()
    with pytest.raises(UserError, match="already holds a finished result"):
        again(finished("depth"), "x", work_dir=finished("depth"))
