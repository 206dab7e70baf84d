"""MoCo v3: two views of an image contrasted with the batch, no captions.

COMMAND   python tools/train.py pretrain/configs/moco_v3.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/imagenet.py"]
method = "moco_v3"
model = dict(type="MoCoV3", hidden=384, dim=64, momentum=(0.98, 1.0))  # the teacher's memory follows the training
train_dataloader = dict(
    dataset=dict(
        views=dict(
            _delete_=True,
            image_1=dict(scale=(0.2, 1.0), flip=0.5, colour=dict(jitter=(0.4, 0.4, 0.2, 0.1), blur_p=1.0)),
            image_2=dict(
                scale=(0.2, 1.0), flip=0.5, colour=dict(jitter=(0.4, 0.4, 0.2, 0.1), blur_p=0.1, solarise_p=0.2)
            ),
        )
    )
)
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)))
recipe = dict(warm_up_updates=20, floor=0.0, decay=0.1)
at_scale = dict(
    tiny=dict(recipe=dict(updates=160)),  # each costs about two of CLIP's
    study=dict(recipe=dict(updates=400)),
    paper=dict(  # facebookresearch/moco-v3
        model=dict(hidden=4096, dim=256, momentum=(0.99, 1.0)),
        train_dataloader=dict(
            dataset=dict(
                interpolation="bilinear", views=dict(image_1=dict(scale=(0.08, 1.0)), image_2=dict(scale=(0.08, 1.0)))
            )
        ),
        recipe=dict(batch=4096, epochs=300, warm_up=40, rate=1.5e-4, rate_for=256, floor=0.0, decay=0.1),
        optim_wrapper=dict(clip_grad=None, paramwise_cfg=dict(no_decay=[], vectors=True)),  # every tensor decays
    ),
)
