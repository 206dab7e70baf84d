"""Mask R-CNN on a randomly initialised encoder.

COMMAND   python tools/train.py det_configs/mask_rcnn_random.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/mask_rcnn.py"]
method = "random"
