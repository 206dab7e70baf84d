"""CLIP on enriched captions: dense descriptions of room, light, every object with place and distance, and relations.

COMMAND   python tools/train.py pretrain/configs/clip_enriched.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/vecap_recipe.py"]
method = "clip_enriched"
captions = "enriched"
at_scale = dict(paper=dict(captions="vecap"))  # VeCLIP's captions alone
