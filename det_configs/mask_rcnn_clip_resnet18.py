"""Mask R-CNN on the encoder of CLIP with ResNet-18.

COMMAND   python tools/train.py det_configs/mask_rcnn_clip_resnet18.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/mask_rcnn.py"]
method = "clip_resnet18"
