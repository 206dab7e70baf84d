"""CLIP on noisy, web-like captions.

COMMAND   python tools/train.py pretrain/configs/clip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/clip_recipe.py"]
method = "clip"
captions = "noisy"
model = dict(type="CLIP")
