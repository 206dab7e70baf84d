"""Scale "paper": NYUv2 by the recipe of SwinTransformer/MIM-Depth-Estimation; departures: docs/protocols.md."""

_base_ = ["./nyuv2.py"]
epochs, pairs, batch = 25, 24_231, 24
global_batch_size = batch
drop_path_rate = 0.3
model = dict(
    decode_head=dict(embed_dim=128),
    test_cfg=dict(mode="slide_flip", crop_size=(480, 480), stride=(160, 160)),  # columns 0:480 and 160:640
)
train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageStrict"),
            dict(type="LoadDepth"),
            dict(type="VerticalCutDepth", prob=0.25, share=0.75),
            dict(type="RandomFlip", prob=0.5),
            dict(type="RandomCrop", crop_size="<data>"),
            dict(type="ColourChanges", prob=0.5),
            dict(type="PackSeg"),
        ]
    ),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(pipeline=[dict(type="LoadImageStrict"), dict(type="LoadDepth"), dict(type="PackSeg")]),
)
val_dataloader = test_dataloader
val_evaluator = dict(eigen_crop=True)
test_evaluator = val_evaluator
train_cfg = dict(max_iters=round(epochs * pairs / batch))
optim_wrapper = dict(optimizer=dict(lr=5e-4, weight_decay=0.05), paramwise_cfg=dict(layer_decay=0.9), clip_grad=None)
param_scheduler = []  # the hook instead: up to 5e-4 in 12 epochs and down to 3e-5 in the next 12
custom_hooks = [dict(type="OneCycleHook", rise=12 / epochs, floor=3e-5 / 5e-4, power=0.9)]
sync_bn = "torch"
state_interval = 2000
