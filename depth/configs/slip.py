"""Depth on the encoder of SLIP.

COMMAND   python tools/train.py depth/configs/slip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "slip"
