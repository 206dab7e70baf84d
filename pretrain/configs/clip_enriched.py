"""CLIP on enriched captions: dense descriptions of room, light, every object with place and distance, and relations.

COMMAND   python tools/train.py pretrain/configs/clip_enriched.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/contrastive.py"]
method = "clip_enriched"
captions = "enriched"
# The longest description has 233 tokens; 128 hold its list of objects in 96 % of the images. They cost two of CLIP's
# updates on noisy captions.
model = dict(type="CLIP", text=dict(context=128))
train_dataloader = dict(dataset=dict(context=128))
epoch = 12_000_000 // 8192  # updates on VeCap-12M
paper = dict(  # apple/ml-veclip's captions alone; what it leaves open is LaCLIP's, CLIP's tokens stand for T5's
    data=dict(_delete_=True, name="vecap12m", kind="image_text", root="data/vecap12m/shards", pattern="*.tar"),
    captions="vecap",
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
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=200)), study=dict(train_cfg=dict(max_iters=500)), paper=paper)
del epoch, paper
