"""UperNet on the encoder of the oracle.

COMMAND   python tools/train.py seg_configs/upernet_oracle.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/upernet.py"]
method = "oracle"
