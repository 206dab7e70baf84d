"""LightCLIP on noisy captions: softened labels, matched tokens, masked words. ResNet-18 at paper scale.

COMMAND   python tools/train.py pretrain/configs/lightclip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/lightclip.py"]
method = "lightclip"
