"""ONNX files in onnxruntime against the models they are of."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from backbones import load_encoder
from engine.errors import UserError
from study import to_onnx as module
from study.finished import Finished
from study.predict import picture_pipeline
from study.to_onnx import to_onnx

needs_onnx = pytest.mark.skipif(
    any(not module.importlib.util.find_spec(name) for name in (*module.NEEDED, "onnxruntime")),
    reason="onnx, onnxscript or onnxruntime is not installed (requirements-optional.txt)",
)


def ran(path, pixels):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(found) for found in session.run(None, {"pixels": pixels.numpy()})]


@needs_onnx
def test_encoder(clip, tmp_path):
    folder, _ = clip
    told = to_onnx(folder, tmp_path / "encoder.onnx")
    assert told.endswith("pixels [1, 3, 32, 32] (RGB in 0..1) -> features, pooled")
    encoder, meta, _ = load_encoder(folder)
    mean, std = (torch.tensor(meta["image"][key]).reshape(3, 1, 1) for key in ("mean", "std"))
    pixels = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        images = (pixels - mean) / std
        wanted = encoder.eval().forward_features(images), encoder(images)
    for found, expected in zip(ran(tmp_path / "encoder.onnx", pixels), wanted, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@needs_onnx
@pytest.mark.parametrize("task", ["upernet", "depth"])
def test_finished_models(task, finished, in_child, scenes_root, tmp_path):
    """On a test image, through the run's own pipeline and preprocessor on one side and plain numpy on the other."""
    picture = str(sorted((scenes_root / "images/test").iterdir())[0])

    def body():
        run = Finished.read(finished(task))
        to_onnx(finished(task), tmp_path / "model.onnx")
        data = picture_pipeline(run)({"img_path": picture})
        pixels = torch.from_numpy(np.ascontiguousarray(data["inputs"].numpy()[::-1])).float()[None] / 255  # BGR -> RGB
        with torch.no_grad():
            (sample,) = run.model().test_step(pseudo_collate([data]))
        wanted = sample.seg_logits.data if task == "upernet" else sample.pred_depth_map.data
        (found,) = ran(tmp_path / "model.onnx", pixels)
        assert wanted.std() > 1e-3 if task == "upernet" else wanted.mean() > 0.1
        torch.testing.assert_close(found[0], wanted, atol=1e-4, rtol=1e-4)

    assert in_child(body) == 0


def test_what_torch_cannot_export_is_one_line():
    def action():
        raise torch.onnx.OnnxExporterError("\x1b[96mFailed\x1b[0m to decompose the graph.\nNext steps: ...")

    with pytest.raises(
        UserError, match=r"^runs/x cannot be exported to ONNX by torch \S+: Failed to decompose the graph.$"
    ):
        module.quietly(action, "runs/x")


def test_refusals(mae, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="name a file that ends in .onnx"):
        to_onnx(mae, tmp_path / "encoder.pth")
    monkeypatch.setattr(module, "NEEDED", ("onnx_that_is_not_here",))
    with pytest.raises(UserError, match="needs onnx_that_is_not_here: pip install -r requirements-optional.txt"):
        to_onnx(mae, tmp_path / "encoder.onnx")
    assert not (tmp_path / "encoder.onnx").exists()


def test_detectors_are_refused():
    detector = SimpleNamespace(folder="runs/x", cfg=Config({"task": "mask_rcnn", "data": {"kind": "coco"}}))
    with pytest.raises(UserError, match="runs/x: --to onnx takes encoders, segmentation and depth, not mask_rcnn"):
        module.finished_graph(detector)
