"""Depth on the encoder of BEiT.

COMMAND   python tools/train.py depth/configs/beit.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "beit"
