"""UperNet on the encoder of SLIP.

COMMAND   python tools/train.py seg_configs/upernet_slip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/upernet.py"]
method = "slip"
