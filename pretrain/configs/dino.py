"""DINO: self-distillation from global views to local crops, no captions.

COMMAND   python tools/train.py pretrain/configs/dino.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/dino_recipe.py"]
method = "dino"
head = dict(hidden=192, bottleneck=64, codes=1024)
model = dict(type="DINO", head=head, teacher_temperature=(0.04, 0.04))
whole, jitter = dict(scale=(0.4, 1.0), flip=0.5), (0.4, 0.4, 0.2, 0.1)
views = dict(
    _delete_=True,
    image_1=dict(**whole, colour=dict(jitter=jitter, blur_p=1.0)),
    image_2=dict(**whole, colour=dict(jitter=jitter, blur_p=0.1, solarise_p=0.2)),
    image_local=dict(size=32, count=4, scale=(0.05, 0.4), flip=0.5, colour=dict(jitter=jitter, blur_p=0.5)),
)
train_dataloader = dict(dataset=dict(views=views))
optim_wrapper = dict(
    # twice the published rate for 64 images; at 1e-3 and with a quicker teacher all images end in one code
    optimizer=dict(lr=2.5e-4, betas=(0.9, 0.999), weight_decay=0.04),
    paramwise_cfg=dict(no_decay=[]),  # as published: positions and CLS token decay too
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=30),
    dict(type="CosineAnnealingLR", eta_min=2e-6, by_epoch=False, begin=30, end="<last>", T_max="<last>"),
    dict(
        type="CosineAnnealingParamScheduler", param_name="weight_decay", eta_min_ratio=10, by_epoch=False, end="<last>"
    ),
]
at_scale = dict(
    tiny=dict(train_cfg=dict(max_iters=120)),  # each costs about three of CLIP's
    study=dict(train_cfg=dict(max_iters=300)),
)
del head, whole, jitter, views
