"""UperNet on the encoder of LightCLIP.

COMMAND   python tools/train.py seg_configs/upernet_lightclip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/upernet.py"]
method = "lightclip"
