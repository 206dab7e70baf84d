"""Depth on the encoder of WSP, weakly supervised after MAE.

COMMAND   python tools/train.py depth/configs/wsp.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "wsp"
