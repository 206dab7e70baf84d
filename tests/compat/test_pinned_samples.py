"""A data loader that pins memory pins what data samples hold, parts of parts included, and keeps the rest."""

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch.utils.data._utils.pin_memory import pin_memory  # what a loader's thread calls

import compat  # noqa: F401


def test_every_tensor_is_pinned_and_everything_else_stays(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor + 1)
    segmented = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 4, 5)), metainfo={"img_path": "a.png"})
    boxes = InstanceData(bboxes=HorizontalBoxes(torch.zeros(2, 4)), labels=torch.zeros(2), masks=["kept", "too"])
    detected = DetDataSample(gt_instances=boxes, metainfo={"img_shape": (4, 5)})
    batch = {"inputs": [torch.zeros(3, 4, 5)], "data_samples": [segmented, detected]}
    moved = pin_memory(batch)
    assert len(pinned) == 3 and bool((moved["inputs"][0] == 1).all())
    first, second = moved["data_samples"]
    assert bool((first.gt_sem_seg.data == 1).all()) and first.img_path == "a.png"
    assert bool((second.gt_instances.labels == 1).all()) and second.img_shape == (4, 5)
    assert second.gt_instances.masks == ["kept", "too"] and bool((second.gt_instances.bboxes.tensor == 0).all())
    assert bool((segmented.gt_sem_seg.data == 0).all()), "the sample itself is left alone"
