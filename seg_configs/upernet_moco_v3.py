"""UperNet on the encoder of MoCo v3.

COMMAND   python tools/train.py seg_configs/upernet_moco_v3.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/upernet.py"]
method = "moco_v3"
