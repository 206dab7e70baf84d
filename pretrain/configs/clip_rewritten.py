"""CLIP on captions that were rewritten from the noisy ones by language alone: cleaner, but not truer (LaCLIP).

COMMAND   python tools/train.py pretrain/configs/clip_rewritten.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/contrastive.py"]
method = "clip_rewritten"
captions = "rewritten"
model = dict(type="CLIP")
epoch = 10_970_000 // 8192  # updates on the pairs of CC12M that LaCLIP could fetch
paper = dict(  # LijieFan/LaCLIP, ViT-B/16: each time the alt text or one of four rewrites, drawn uniformly
    data=dict(_delete_=True, name="cc12m", kind="image_text", root="data/cc12m/shards", pattern="*.tar"),
    captions="txt+chatgpt+bard+mscoco+human",
    global_batch_size=8192,
    train_cfg=dict(max_iters=35 * epoch),
    model=dict(
        text=dict(embed_dim=512, vocabulary="clip", context=77, width=512, layers=12, heads=8, act="quick_gelu")
    ),
    train_dataloader=dict(dataset=dict(context=77)),
    optim_wrapper=dict(optimizer=dict(lr=1e-3, weight_decay=0.5), clip_grad=None),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-6 / 1e-3, by_epoch=False, begin=0, end=epoch),
        dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False, begin=epoch, end=None, T_max=None),
    ],
)
at_scale = dict(paper=paper)
del epoch, paper
