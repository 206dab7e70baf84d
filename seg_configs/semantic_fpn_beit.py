"""SemanticFPN on the encoder of BEiT.

COMMAND   python tools/train.py seg_configs/semantic_fpn_beit.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/semantic_fpn.py"]
method = "beit"
