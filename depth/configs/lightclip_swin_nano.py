"""Depth on the encoder of LightCLIP with Swin-Nano.

COMMAND   python tools/train.py depth/configs/lightclip_swin_nano.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "Depth"
"""

_base_ = ["./_base_/depth.py"]
method = "lightclip_swin_nano"
