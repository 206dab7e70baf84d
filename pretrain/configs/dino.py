"""DINO: self-distillation from global views to local crops, no captions.

COMMAND   python tools/train.py pretrain/configs/dino.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/imagenet.py"]
method = "dino"
model = dict(type="DINO", head=dict(hidden=192, bottleneck=64, codes=1024), teacher_temperature=(0.04, 0.04))
train_dataloader = dict(dataset=dict(views=dict(
    _delete_=True,
    image_1=dict(scale=(0.4, 1.0), flip=0.5, colour=dict(jitter=(0.4, 0.4, 0.2, 0.1), blur_p=1.0)),
    image_2=dict(scale=(0.4, 1.0), flip=0.5, colour=dict(jitter=(0.4, 0.4, 0.2, 0.1), blur_p=0.1, solarise_p=0.2)),
    image_local=dict(
        size=32, count=4, scale=(0.05, 0.4), flip=0.5, colour=dict(jitter=(0.4, 0.4, 0.2, 0.1), blur_p=0.5)
    ),
)))  # fmt: skip
optim_wrapper = dict(
    optimizer=dict(betas=(0.9, 0.999)),
    paramwise_cfg=dict(no_decay=[]),  # as published: positions and CLS token decay too
)
# twice the published rate for 64 images; at 1e-3 and with a quicker teacher all images end in one code
recipe = dict(warm_up_updates=30, rate=2.5e-4, floor=2e-6, decay=0.04, last_decay=0.4)
at_scale = dict(
    tiny=dict(recipe=dict(updates=120)),  # each costs about three of CLIP's
    study=dict(recipe=dict(updates=300)),
    paper=dict(  # facebookresearch/dino, the released ViT-B/16
        model=dict(
            encoder=dict(kwargs=dict(drop_path_rate=0.1)), head=dict(hidden=2048, bottleneck=256, codes=65536),
            teacher_temperature=(0.04, 0.07), teacher_warmup=50 / 400, freeze_last=3 / 400,
        ),
        train_dataloader=dict(dataset=dict(interpolation="bicubic", views=dict(
            image_1=dict(scale=(0.25, 1.0)), image_2=dict(scale=(0.25, 1.0)),
            image_local=dict(size=96, count=10, scale=(0.05, 0.25)),
        ))),
        recipe=dict(
            batch=1024, epochs=400, warm_up=10, rate=7.5e-4, rate_for=256, floor=2e-6, decay=0.04, last_decay=0.4
        ),
    ),
)  # fmt: skip
