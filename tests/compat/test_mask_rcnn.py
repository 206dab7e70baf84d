"""mmdet's Mask R-CNN whole, on the operators that this machine has."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData


def rcnn(channels=16):
    head = {
        "type": "Shared2FCBBoxHead",
        "in_channels": channels,
        "fc_out_channels": 32,
        "roi_feat_size": 7,
        "num_classes": 3,
        "bbox_coder": {"type": "DeltaXYWHBBoxCoder"},
    }
    anchors = {"type": "AnchorGenerator", "scales": [4], "ratios": [0.5, 1.0, 2.0], "strides": [4, 8]}

    def extractor(size):
        return {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": size},
            "out_channels": channels,
            "featmap_strides": [4, 8],
            "finest_scale": 16,
        }

    def assigner(high, low):
        return {"type": "MaxIoUAssigner", "pos_iou_thr": high, "neg_iou_thr": low, "min_pos_iou": low}

    def sampler(count, add):
        return {"type": "RandomSampler", "num": count, "pos_fraction": 0.5, "add_gt_as_proposals": add}

    proposals = {"nms_pre": 200, "max_per_img": 50, "nms": {"type": "nms", "iou_threshold": 0.7}, "min_bbox_size": 0}
    return ConfigDict(
        {
            "type": "MaskRCNN",
            "data_preprocessor": {
                "type": "DetDataPreprocessor",
                "mean": [127.0] * 3,
                "std": [60.0] * 3,
                "pad_mask": True,
            },
            "backbone": {
                "type": "ResNet",
                "depth": 18,
                "base_channels": 8,
                "stem_channels": 8,
                "num_stages": 2,
                "strides": (1, 2),
                "dilations": (1, 1),
                "out_indices": (0, 1),
                "norm_eval": True,
            },
            "neck": {"type": "FPN", "in_channels": [8, 16], "out_channels": channels, "num_outs": 2},
            "rpn_head": {
                "type": "RPNHead",
                "in_channels": channels,
                "feat_channels": channels,
                "anchor_generator": anchors,
            },
            "roi_head": {
                "type": "StandardRoIHead",
                "bbox_roi_extractor": extractor(7),
                "bbox_head": head,
                "mask_roi_extractor": extractor(14),
                "mask_head": {
                    "type": "FCNMaskHead",
                    "num_convs": 1,
                    "in_channels": channels,
                    "conv_out_channels": channels,
                    "num_classes": 3,
                },
            },
            "train_cfg": {
                "rpn": {
                    "assigner": assigner(0.7, 0.3),
                    "sampler": sampler(32, False),
                    "allowed_border": -1,
                    "pos_weight": -1,
                    "debug": False,
                },
                "rpn_proposal": proposals,
                "rcnn": {
                    "assigner": assigner(0.5, 0.5),
                    "sampler": sampler(32, True),
                    "mask_size": 28,
                    "pos_weight": -1,
                    "debug": False,
                },
            },
            "test_cfg": {
                "rpn": proposals,
                "rcnn": {
                    "score_thr": 0.0,
                    "nms": {"type": "nms", "iou_threshold": 0.5},
                    "max_per_img": 10,
                    "mask_thr_binary": 0.5,
                },
            },
        }
    )


def batch():
    """Two 64 x 64 images with one square each."""
    data = {"inputs": [], "data_samples": []}
    for left in (8, 24):
        image = torch.zeros(3, 64, 64, dtype=torch.uint8)
        image[:, 16:48, left : left + 32] = 255
        mask = np.zeros((1, 64, 64), dtype=np.uint8)
        mask[0, 16:48, left : left + 32] = 1
        sample = DetDataSample(
            metainfo={
                "img_shape": (64, 64),
                "ori_shape": (64, 64),
                "pad_shape": (64, 64),
                "scale_factor": (1.0, 1.0),
                "batch_input_shape": (64, 64),
            }
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[left, 16, left + 32, 48]], dtype=torch.float32),
            labels=torch.tensor([1]),
            masks=BitmapMasks(mask, 64, 64),
        )
        data["inputs"].append(image)
        data["data_samples"].append(sample)
    return data


@pytest.fixture()
def model():
    register_all_modules(init_default_scope=False)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build(rcnn())


def gradients(model, dtype=None):
    torch.manual_seed(0)  # the samplers draw from torch's and numpy's global generators
    np.random.seed(0)
    model.train()
    model.zero_grad()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        losses, _ = model.parse_losses(model(**model.data_preprocessor(batch(), True), mode="loss"))
    losses.backward()
    return losses.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_a_training_step_reaches_the_backbone_and_repeats_exactly(model):
    loss, first = gradients(model)
    again, second = gradients(model)
    assert torch.isfinite(loss)
    assert loss == again
    assert first["backbone.layer2.0.conv1.weight"].any()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(name.startswith("roi_head.mask_head") and grad.any() for name, grad in first.items())


def test_bfloat16_autocast_trains(model):
    full, _ = gradients(model)
    half, grads = gradients(model, torch.bfloat16)
    assert abs(full - half) < 0.1 * full
    assert all(torch.isfinite(grad).all() for grad in grads.values())


def test_it_learns_two_squares_and_finds_them(model):
    np.random.seed(0)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=80)
    for _ in range(80):
        losses, _ = model.parse_losses(model(**model.data_preprocessor(batch(), True), mode="loss"))
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        found = model.test_step(batch())
    for sample, truth in zip(found, batch()["data_samples"], strict=True):
        best = sample.pred_instances[0]
        assert best.labels.tolist() == [1]
        assert bbox_overlaps(best.bboxes, truth.gt_instances.bboxes).item() > 0.4
        mask = best.masks[0].numpy()
        square = truth.gt_instances.masks.masks[0].astype(bool)
        assert (mask & square).sum() / (mask | square).sum() > 0.4
