"""Supervised classification: of the largest object's shape, without DeiT's heavy mixing; at scale paper, all of DeiT.

COMMAND   python tools/train.py pretrain/configs/supervised.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/pretrain.py"]
method = "supervised"
data = dict(name="scenes", kind="image_folder", root="data/scenes/imagefolder/pretrain", scenes_root="data/scenes")
model = dict(type="Supervised", num_classes="<data>", smoothing=0.1)
train_dataloader = dict(dataset=dict(views=dict(image=dict(scale=(0.35, 1.0), flip=0.5))))
epoch = 1_281_167 / 1024  # updates
paper = dict(  # DeiT-B: 300 epochs, 5 of them warm-up, 5e-4 for 512 images
    data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train"),
    model=dict(encoder=dict(kwargs=dict(drop_path_rate=0.1)), mixup=0.8, cutmix=1.0, erasing=0.25),
    global_batch_size=1024,
    train_cfg=dict(max_iters=int(300 * epoch)),
    train_dataloader=dict(
        dataset=dict(transform=dict(auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic"))  # crop 0.08-1, flip
    ),
    optim_wrapper=dict(optimizer=dict(lr=5e-4 * 1024 / 512, betas=(0.9, 0.999)), clip_grad=None),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=int(5 * epoch)),
        dict(
            type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False, begin=int(5 * epoch), end="<last>", T_max="<last>"
        ),
    ],
)
at_scale = dict(
    study=dict(data=dict(root="data/scenes-study/imagefolder/pretrain", scenes_root="data/scenes-study")), paper=paper
)
del epoch, paper
