"""Depth on the encoder of CLIP on mixed captions.

COMMAND   python tools/train.py depth/configs/clip_mixed.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "clip_mixed"
