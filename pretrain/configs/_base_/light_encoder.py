"""LightCLIP's recipe for its light encoders: at 64 pixels an update costs three of the suite's ViT's, so fewer fit."""

_base_ = ["./light_recipe.py"]
schedule = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=25),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=False, begin=25, end="<last>", T_max="<last>"),
]
at_scale = dict(
    tiny=dict(train_cfg=dict(max_iters=100), param_scheduler=schedule),
    study=dict(train_cfg=dict(max_iters=250), param_scheduler=schedule),
)
del schedule
