"""Mask R-CNN on the encoder of LightCLIP with ResNet-18.

COMMAND   python tools/train.py det_configs/mask_rcnn_lightclip_resnet18.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/mask_rcnn.py"]
method = "lightclip_resnet18"
