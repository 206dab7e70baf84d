"""Depth on the encoder of MoCo v3.

COMMAND   python tools/train.py depth/configs/moco_v3.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "moco_v3"
