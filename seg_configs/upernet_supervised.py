"""UperNet on the encoder of supervised image labels.

COMMAND   python tools/train.py seg_configs/upernet_supervised.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/upernet.py"]
method = "supervised"
