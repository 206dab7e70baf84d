"""SemanticFPN on the encoder of CLIP on enriched captions.

COMMAND   python tools/train.py seg_configs/semantic_fpn_clip_enriched.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/semantic_fpn.py"]
method = "clip_enriched"
