"""Depth on the encoder of DeCLIP.

COMMAND   python tools/train.py depth/configs/declip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "declip"
