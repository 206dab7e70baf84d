"""UperNet on the encoder of WSP, weakly supervised after MAE.

COMMAND   python tools/train.py seg_configs/upernet_wsp.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "UperNet"
"""

_base_ = ["./_base_/upernet.py"]
method = "wsp"
