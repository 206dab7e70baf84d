"""Fine-tuning at scale "tiny": the colour of the largest solid, from 8192 embedded images, each seen about once.

A crop of less of the image may lose the largest solid, whose colour is asked for. Twice the iterations level encoders
that these tell apart (seen on validation scenes): longer training makes up for what an encoder lacks.
"""

model = dict(smoothing=0.1)
train_cfg = dict(max_iters=150)
train_dataloader = dict(dataset=dict(transform=dict(scale=(0.8, 1.0), color_jitter=None, interpolation="bicubic")))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-2, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", eta_min_ratio=1e-2, by_epoch=False, begin=20, end="<last>", T_max="<last>"),
]
