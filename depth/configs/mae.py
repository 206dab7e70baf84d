"""Depth on the encoder of MAE.

COMMAND   python tools/train.py depth/configs/mae.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "mae"
