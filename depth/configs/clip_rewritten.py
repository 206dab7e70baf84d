"""Depth on the encoder of CLIP on rewritten captions.

COMMAND   python tools/train.py depth/configs/clip_rewritten.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "clip_rewritten"
