"""SemanticFPN on the encoder of MoCo v3.

COMMAND   python tools/train.py seg_configs/semantic_fpn_moco_v3.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "SemanticFPN"
"""

_base_ = ["./_base_/semantic_fpn.py"]
method = "moco_v3"
