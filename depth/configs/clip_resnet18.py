"""Depth on the encoder of CLIP with ResNet-18.

COMMAND   python tools/train.py depth/configs/clip_resnet18.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "clip_resnet18"
