"""UperNet on the encoder of DeCLIP.

COMMAND   python tools/train.py seg_configs/upernet_declip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/upernet.py"]
method = "declip"
