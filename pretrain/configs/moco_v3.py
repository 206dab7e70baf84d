"""MoCo v3: two views of an image contrasted with the batch, no captions.

COMMAND   python tools/train.py pretrain/configs/moco_v3.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/image_text.py"]
method = "moco_v3"
model = dict(type="MoCoV3", hidden=384, dim=64, momentum=(0.98, 1.0))  # the teacher's memory follows the training
crop, jitter = dict(scale=(0.2, 1.0), flip=0.5), (0.4, 0.4, 0.2, 0.1)
views = dict(
    _delete_=True,
    image_1=dict(**crop, colour=dict(jitter=jitter, blur_p=1.0)),
    image_2=dict(**crop, colour=dict(jitter=jitter, blur_p=0.1, solarise_p=0.2)),
)
train_dataloader = dict(dataset=dict(views=views))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999), weight_decay=0.1))
schedule = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=20, end="<last>", T_max="<last>"),
]
param_scheduler = schedule
epoch, wide = 1_281_167 / 4096, dict(scale=(0.08, 1.0))
at_scale = dict(
    tiny=dict(train_cfg=dict(max_iters=160)),  # each costs about two of CLIP's
    study=dict(train_cfg=dict(max_iters=400)),
    paper=dict(
        data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train"),
        model=dict(hidden=4096, dim=256, momentum=(0.99, 1.0)),
        global_batch_size=4096,
        train_cfg=dict(max_iters=int(300 * epoch)),
        train_dataloader=dict(dataset=dict(views=dict(image_1=wide, image_2=wide))),
        optim_wrapper=dict(optimizer=dict(lr=1.5e-4 * 4096 / 256), clip_grad=None),
        param_scheduler=[{**schedule[0], "end": int(40 * epoch)}, {**schedule[1], "begin": int(40 * epoch)}],
    ),
)
del crop, jitter, views, schedule, epoch, wide
