"""Mask R-CNN on the encoder of LightCLIP with Swin-Nano.

COMMAND   python tools/train.py det_configs/mask_rcnn_lightclip_swin_nano.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/mask_rcnn.py"]
method = "lightclip_swin_nano"
