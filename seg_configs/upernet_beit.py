"""UperNet on the encoder of BEiT.

COMMAND   python tools/train.py seg_configs/upernet_beit.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/upernet.py"]
method = "beit"
