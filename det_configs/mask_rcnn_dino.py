"""Mask R-CNN on the encoder of DINO.

COMMAND   python tools/train.py det_configs/mask_rcnn_dino.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/mask_rcnn.py"]
method = "dino"
