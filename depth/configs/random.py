"""Depth on the encoder of random initialisation: the floor.

COMMAND   python tools/train.py depth/configs/random.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "random"
