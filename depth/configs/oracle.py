"""Depth on the encoder pretrained with dense labels: the ceiling.

COMMAND   python tools/train.py depth/configs/oracle.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "oracle"
