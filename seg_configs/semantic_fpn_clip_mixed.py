"""SemanticFPN on the encoder of CLIP on mixed captions.

COMMAND   python tools/train.py seg_configs/semantic_fpn_clip_mixed.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/semantic_fpn.py"]
method = "clip_mixed"
