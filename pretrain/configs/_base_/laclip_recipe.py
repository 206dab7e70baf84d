"""LaCLIP's recipe at scale "paper" (LijieFan/LaCLIP, ViT-B/16) for any source of captions: a config adds its data."""

_base_ = ["./contrastive.py"]
at_scale = dict(
    paper=dict(
        recipe=dict(batch=8192, drop_last=True, epochs=35, warm_up=1, rate=1e-3, start=1e-6, floor=1e-5, decay=0.5),
        optim_wrapper=dict(clip_grad=None),
    )
)
