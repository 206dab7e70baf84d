"""Loops, optimizer and schedule that every dense task shares; a base of their configs."""

train_cfg = dict(type="AddressedLoop", max_iters=400)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    constructor="LayerDecayConstructor",
    optimizer=dict(type="AdamW", lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    paramwise_cfg=dict(layer_decay=0.65),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-2, by_epoch=False, begin=0, end=40),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=40, end="<last>"),
]
