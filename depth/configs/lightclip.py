"""Depth on the encoder of LightCLIP.

COMMAND   python tools/train.py depth/configs/lightclip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "lightclip"
