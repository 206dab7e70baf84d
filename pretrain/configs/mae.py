"""MAE: masked pixels from the visible quarter, no captions.

COMMAND   python tools/train.py pretrain/configs/mae.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/imagenet.py"]
method = "mae"
model = dict(type="MAE", decoder_width=64, decoder_depth=2, decoder_heads=4, decoder_norm_eps=1e-5)
train_dataloader = dict(dataset=dict(views=dict(image=dict(scale=(0.2, 1.0), flip=0.5))))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.95)))
at_scale = dict(
    tiny=dict(recipe=dict(updates=800)),
    study=dict(recipe=dict(updates=3000)),
    paper=dict(  # facebookresearch/mae, PRETRAIN.md
        model=dict(decoder_width=512, decoder_depth=8, decoder_heads=16, decoder_norm_eps=1e-6),
        train_dataloader=dict(dataset=dict(interpolation="bicubic")),
        recipe=dict(batch=4096, epochs=1600, warm_up=40, rate=1.5e-4, rate_for=256, start=0.0, floor=0.0, decay=0.05),
        optim_wrapper=dict(clip_grad=None, paramwise_cfg=dict(no_decay=[])),  # CLS and mask token decay too
    ),
)
