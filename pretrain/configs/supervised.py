"""Supervised classification: of the largest object's shape, without DeiT's heavy mixing; at scale paper, all of DeiT.

COMMAND   python tools/train.py pretrain/configs/supervised.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/imagenet.py"]
method = "supervised"
data = dict(
    _delete_=True,
    name="scenes",
    kind="image_folder",
    root="data/scenes/imagefolder/pretrain",
    scenes_root="data/scenes",
)
model = dict(type="Supervised", num_classes="<data>", smoothing=0.1)
train_dataloader = dict(dataset=dict(views=dict(image=dict(scale=(0.35, 1.0), flip=0.5))))
at_scale = dict(
    study=dict(data=dict(root="data/scenes-study/imagefolder/pretrain", scenes_root="data/scenes-study")),
    paper=dict(  # DeiT-B
        model=dict(encoder=dict(kwargs=dict(drop_path_rate=0.1)), mixup=0.8, cutmix=1.0, erasing=0.25),
        train_dataloader=dict(
            dataset=dict(transform=dict(auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic"))  # crop 0.08-1
        ),
        train_cfg=dict(repeats=3),  # of an image in a row, each augmented anew
        recipe=dict(batch=1024, epochs=300, warm_up=5, rate=5e-4, rate_for=512, floor=1e-5, decay=0.05),
        optim_wrapper=dict(optimizer=dict(betas=(0.9, 0.999)), clip_grad=None),
    ),
)
