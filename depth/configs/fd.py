"""Depth on the encoder of FD, features distilled from CLIP.

COMMAND   python tools/train.py depth/configs/fd.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "Depth"
"""

_base_ = ["./_base_/depth.py"]
method = "fd"
