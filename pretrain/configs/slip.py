"""SLIP on noisy captions: CLIP, and SimCLR between two further views of each image.

COMMAND   python tools/train.py pretrain/configs/slip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/contrastive.py"]
method = "slip"
captions = "noisy"
model = dict(type="SLIP", projector=(384, 64))
augmented = dict(
    scale=(0.08, 1.0),
    flip=0.5,
    colour=dict(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey_p=0.2, blur_p=0.5),
)
train_dataloader = dict(dataset=dict(views=dict(image_1=augmented, image_2=augmented)))
epoch = 15_255_632 // 4096  # updates
paper = dict(  # facebookresearch/SLIP, ViT-B/16: 25 epochs, the first from 1e-6 to 3e-3, then a cosine to 1e-5
    data=dict(_delete_=True, name="yfcc15m", kind="image_text", root="data/yfcc15m/shards", pattern="*.tar"),
    global_batch_size=4096,
    train_cfg=dict(max_iters=25 * epoch),
    model=dict(
        text=dict(embed_dim=512, vocabulary="clip", context=77, width=512, layers=12, heads=8, act="quick_gelu"),
        projector=(4096, 256),
    ),
    train_dataloader=dict(dataset=dict(context=77)),
    optim_wrapper=dict(optimizer=dict(lr=3e-3, weight_decay=0.1), clip_grad=None),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-6 / 3e-3, by_epoch=False, begin=0, end=epoch),
        dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False, begin=epoch, end=None, T_max=None),
    ],
)
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=250)), study=dict(train_cfg=dict(max_iters=625)), paper=paper)
del augmented, epoch, paper
