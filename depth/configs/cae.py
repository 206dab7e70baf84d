"""Depth on the encoder of CAE.

COMMAND   python tools/train.py depth/configs/cae.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "cae"
