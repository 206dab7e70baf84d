"""CLIP on the alt text or the enriched caption, drawn anew each time (VeCLIP): many ways to name, and true ones.

COMMAND   python tools/train.py pretrain/configs/clip_mixed.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/vecap_recipe.py"]
method = "clip_mixed"
captions = "noisy+enriched"
at_scale = dict(paper=dict(captions="txt+vecap"))
