"""UperNet on ADE20K, 160 k iterations of 16 images (BEiT's recipe, which MAE's, CAE's and dBOT's tables use too)."""

_base_ = ["./scale_paper.py", "./upernet_rates.py"]
global_batch_size = 16
drop_path_rate = 0.1
model = dict(
    decode_head=dict(channels="<encoder>", **_base_.classifier),  # as wide as a plain ViT: 768 for B, 1024 for L
    auxiliary_head=dict(channels=256, **_base_.classifier),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
train_cfg = dict(max_iters=160_000)
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0.05), paramwise_cfg=dict(layer_decay=0.65))
# mmcv 1.x, with which the numbers were published, multiplies the warm-up by the decay that has begun already.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1501),  # full at iteration 1500
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end="<last>"),
]
