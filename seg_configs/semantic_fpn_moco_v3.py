"""SemanticFPN on the encoder of MoCo v3.

COMMAND   python tools/train.py seg_configs/semantic_fpn_moco_v3.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/semantic_fpn.py"]
method = "moco_v3"
