"""CLIP on aligned captions, which name every object with its colour, material and place.

COMMAND   python tools/train.py pretrain/configs/clip_aligned.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/clip_recipe.py"]
method = "clip_aligned"
captions = "aligned"  # at scale paper, shards whose JSON holds such captions are the user's own to make
model = dict(type="CLIP")
