"""Mask R-CNN on the encoder of BEiT.

COMMAND   python tools/train.py det_configs/mask_rcnn_beit.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/mask_rcnn.py"]
method = "beit"
