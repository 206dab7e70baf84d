"""UperNet on the encoder of CAE.

COMMAND   python tools/train.py seg_configs/upernet_cae.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/upernet.py"]
method = "cae"
