"""SemanticFPN on ADE20K, 40 k iterations of 32 images (PoolFormer's recipe, the mobile encoders' one)."""

_base_ = ["./scale_paper.py"]
global_batch_size = 32
model = dict(neck=dict(out_channels=256), decode_head=dict(in_channels=[256] * 4, channels=128, **_base_.classifier))
train_cfg = dict(max_iters=40_000)
# The norms' weights and the biases take no decay here, as everywhere in the suite; PoolFormer's config decays them too.
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-4), paramwise_cfg=dict(layer_decay=1.0))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=0, end="<last>")]
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageStrict"),
            dict(type="Resize", **_base_.resize),
            dict(type="ResizeToMultiple", size_divisor=32),
            dict(type="LoadLabels"),
            dict(type="PackSeg"),
        ]
    )
)
val_dataloader = test_dataloader
