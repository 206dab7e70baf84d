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
epoch = 1_281_167 / 4096  # updates
paper = dict(  # facebookresearch/mae, PRETRAIN.md: 1600 epochs, 40 of them warm-up, 1.5e-4 for 256 images, down to 0
    data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train"),
    model=dict(decoder_width=512, decoder_depth=8, decoder_heads=16),
    global_batch_size=4096,
    train_cfg=dict(max_iters=int(1600 * epoch)),
    optim_wrapper=dict(optimizer=dict(lr=1.5e-4 * 4096 / 256), clip_grad=None),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=int(40 * epoch)),
        dict(
            type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=int(40 * epoch), end="<last>", T_max="<last>"
        ),
    ],
)
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=800)), study=dict(train_cfg=dict(max_iters=3000)), paper=paper)
del epoch, paper
