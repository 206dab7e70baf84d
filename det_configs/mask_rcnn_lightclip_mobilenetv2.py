"""Mask R-CNN on the encoder of LightCLIP with MobileNetV2.

COMMAND   python tools/train.py det_configs/mask_rcnn_lightclip_mobilenetv2.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/mask_rcnn.py"]
method = "lightclip_mobilenetv2"
