"""CLIP on captions that were rewritten from the noisy ones by language alone: cleaner, but not truer (LaCLIP).

COMMAND   python tools/train.py pretrain/configs/clip_rewritten.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/laclip_recipe.py"]
method = "clip_rewritten"
captions = "rewritten"
model = dict(type="CLIP")
epoch = 10_970_000 // 8192  # updates on the pairs of CC12M that LaCLIP could fetch
paper = dict(
    data=dict(_delete_=True, name="cc12m", kind="image_text", root="data/cc12m/shards", pattern="*.tar"),
    captions="txt+chatgpt+bard+mscoco+human",  # each time the alt text or one of four rewrites, drawn uniformly
    train_cfg=dict(max_iters=35 * epoch),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-6 / 1e-3, by_epoch=False, begin=0, end=epoch),
        dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False, begin=epoch, end="<last>", T_max="<last>"),
    ],
)
at_scale = dict(paper=paper)
del epoch, paper
