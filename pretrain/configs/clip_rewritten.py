"""CLIP on captions that were rewritten from the noisy ones by language alone: cleaner, but not truer (LaCLIP).

COMMAND   python tools/train.py pretrain/configs/clip_rewritten.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/laclip_recipe.py"]
method = "clip_rewritten"
captions = "rewritten"
model = dict(type="CLIP")
at_scale = dict(
    paper=dict(
        data=dict(name="cc12m", root="data/cc12m/shards"),
        captions="txt+chatgpt+bard+mscoco+human",  # each time the alt text or one of four rewrites, drawn uniformly
        recipe=dict(images=10_970_000),  # the pairs of CC12M that LaCLIP could fetch
    )
)
