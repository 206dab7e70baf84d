"""SemanticFPN on the encoder of CLIP on noisy captions.

COMMAND   python tools/train.py seg_configs/semantic_fpn_clip.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "SemanticFPN"
"""

_base_ = ["./semantic_fpn.py"]
method = "clip"
