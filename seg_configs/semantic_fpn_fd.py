"""SemanticFPN on the encoder of FD, features distilled from CLIP.

COMMAND   python tools/train.py seg_configs/semantic_fpn_fd.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/semantic_fpn.py"]
method = "fd"
