"""Depth on the encoder of LightCLIP with MobileNetV2.

COMMAND   python tools/train.py depth/configs/lightclip_mobilenetv2.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/depth.py"]
method = "lightclip_mobilenetv2"
