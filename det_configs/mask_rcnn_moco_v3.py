"""Mask R-CNN on the encoder of MoCo v3.

COMMAND   python tools/train.py det_configs/mask_rcnn_moco_v3.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/mask_rcnn.py"]
method = "moco_v3"
