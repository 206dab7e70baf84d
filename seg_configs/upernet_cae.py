"""UperNet on the encoder of CAE.

COMMAND   python tools/train.py seg_configs/upernet_cae.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "UperNet"
"""

_base_ = ["./upernet.py"]
method = "cae"
