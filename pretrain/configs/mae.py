"""MAE: masked pixels from the visible quarter, no captions.

COMMAND   python tools/train.py pretrain/configs/mae.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/image_text.py"]
method = "mae"
model = dict(type="MAE", decoder_width=64, decoder_depth=2, decoder_heads=4)
train_dataloader = dict(dataset=dict(views=dict(image=dict(scale=(0.2, 1.0), flip=0.5))))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.95)))
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=800)), study=dict(train_cfg=dict(max_iters=3000)))
