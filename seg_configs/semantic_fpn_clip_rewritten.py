"""SemanticFPN on the encoder of CLIP on rewritten captions.

COMMAND   python tools/train.py seg_configs/semantic_fpn_clip_rewritten.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/semantic_fpn.py"]
method = "clip_rewritten"
