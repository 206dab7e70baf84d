"""What leaves for mmseg and mmdet gives, by their own functions, what the run's own model gives."""

import json

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from engine.errors import UserError
from study.predict import predict
from study.to_openmmlab import to_mmdet, to_mmseg


def picture_of(scenes_root):
    return sorted((scenes_root / "images/test").iterdir())[0]


@pytest.mark.parametrize("task", ["upernet", "depth"])
def test_mmseg_predicts_the_same(task, finished, in_child, scenes_root, tmp_path):
    picture, out = picture_of(scenes_root), tmp_path / "out"

    def body():
        predict(finished(task), picture, tmp_path / "ours", draw=False)
        code = to_mmseg(finished(task), out)
        names = {}
        exec(code.replace("model.pth')", "model.pth', device='cpu')"), names)
        model = names["model"]
        ours = cv2.imread(str(tmp_path / "ours" / picture.name), cv2.IMREAD_UNCHANGED)
        for given in (str(picture), cv2.imread(str(picture))):  # a file, and pixels
            found = names["inference_model"](model, given)
            if task == "depth":
                theirs = found.pred_depth_map.data[0].numpy().astype(np.float64)
                assert np.array_equal(np.rint(1000 * theirs), ours)
            else:
                assert np.array_equal(found.pred_sem_seg.data[0].numpy(), ours)
                assert model.dataset_meta["classes"][0] == "floor" and len(model.dataset_meta["palette"]) == 8

    assert in_child(body) == 0
    cfg = Config.fromfile(str(out / "config.py"), import_custom_modules=False)
    assert cfg.custom_imports.imports[0] == "densebench.openmmlab"
    assert "checkpoint" not in cfg.model.backbone, "nothing but the two files is needed"
    with pytest.raises(UserError, match="holds a model of mmseg: take --to mmseg"):
        to_mmdet(finished(task), out)


def test_mmdet_predicts_the_same(finished, in_child, scenes_root, tmp_path):
    picture, out = picture_of(scenes_root), tmp_path / "out"

    def body():
        predict(finished("mask_rcnn"), picture, tmp_path / "ours", draw=False)
        names = {}
        exec(to_mmdet(finished("mask_rcnn"), out).replace("model.pth')", "model.pth', device='cpu')"), names)
        model = names["model"]
        found = names["inference_detector"](model, str(picture)).pred_instances
        ours = json.loads((tmp_path / "ours/detections.json").read_text())
        assert len(ours) == len(found) > 0
        assert [one["score"] for one in ours] == found.scores.tolist()
        assert [one["category_id"] for one in ours] == (found.labels + 1).tolist()
        corners = np.array([one["bbox"] for one in ours])
        corners[:, 2:] += corners[:, :2]
        assert np.allclose(corners, found.bboxes.numpy(), atol=1e-4)
        assert model.dataset_meta["classes"][0] == "sphere" and len(model.dataset_meta["palette"]) == 6

    assert in_child(body) == 0
    with pytest.raises(UserError, match="holds a model of mmdet: take --to mmdet"):
        to_mmseg(finished("mask_rcnn"), out)
