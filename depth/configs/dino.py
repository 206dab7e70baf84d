"""Depth on the encoder of DINO.

COMMAND   python tools/train.py depth/configs/dino.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "dino"
