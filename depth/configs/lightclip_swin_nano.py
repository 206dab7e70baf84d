"""Depth on the encoder of LightCLIP with Swin-Nano.

COMMAND   python tools/train.py depth/configs/lightclip_swin_nano.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "lightclip_swin_nano"
