"""DINO: self-distillation from global views to local crops, no captions.

COMMAND   python tools/train.py pretrain/configs/dino.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/image_text.py"]
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
schedule = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=30),
    dict(type="CosineAnnealingLR", eta_min=2e-6, by_epoch=False, begin=30, end=None, T_max=None),
    dict(type="CosineAnnealingParamScheduler", param_name="weight_decay", eta_min_ratio=10, by_epoch=False, end=None),
]
param_scheduler = schedule
epoch, wide = 1_281_167 / 1024, dict(scale=(0.25, 1.0))
small = dict(size=96, count=10, scale=(0.05, 0.25))
at_scale = dict(
    tiny=dict(train_cfg=dict(max_iters=120)),  # each costs about three of CLIP's
    study=dict(train_cfg=dict(max_iters=300)),
    paper=dict(  # the released ViT-B/16
        data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train"),
        model=dict(
            encoder=dict(kwargs=dict(drop_path_rate=0.1)), head=dict(hidden=2048, bottleneck=256, codes=65536),
            teacher_temperature=(0.04, 0.07), teacher_warmup=50 / 400, freeze_last=3 / 400,
        ),
        global_batch_size=1024,
        train_cfg=dict(max_iters=int(400 * epoch)),
        train_dataloader=dict(dataset=dict(views=dict(image_1=wide, image_2=wide, image_local=small))),
        optim_wrapper=dict(optimizer=dict(lr=7.5e-4 * 1024 / 256)),
        param_scheduler=[
            {**schedule[0], "end": int(10 * epoch)}, {**schedule[1], "begin": int(10 * epoch)}, schedule[2],
        ],
    ),
)  # fmt: skip
del head, whole, jitter, views, schedule, epoch, wide, small
