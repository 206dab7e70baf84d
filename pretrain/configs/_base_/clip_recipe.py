"""CLIP's published recipe on YFCC15M (facebookresearch/SLIP): 25 epochs, the first from 1e-6, then a cosine to 1e-5."""

_base_ = ["./contrastive.py"]
at_scale = dict(
    paper=dict(
        recipe=dict(batch=4096, epochs=25, warm_up=1, rate=5e-4, start=1e-6, floor=1e-5, decay=0.5),
        optim_wrapper=dict(clip_grad=None),
    )
)
