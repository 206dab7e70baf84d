"""Depth on the encoder of FD, features distilled from CLIP.

COMMAND   python tools/train.py depth/configs/fd.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "fd"
