"""Depth on the encoder of supervised classification.

COMMAND   python tools/train.py depth/configs/supervised.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "supervised"
