"""CLIP on aligned captions, which name every object with its colour, material and place.

COMMAND   python tools/train.py pretrain/configs/clip_aligned.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/contrastive.py"]
method = "clip_aligned"
captions = "aligned"
model = dict(type="CLIP")
