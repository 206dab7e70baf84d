"""UperNet on the encoder of MaskCLIP.

COMMAND   python tools/train.py seg_configs/upernet_maskclip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/upernet.py"]
method = "maskclip"
