"""WSP after MAE (MAWS): the words of noisy captions as labels, for an encoder that MAE trained first.

COMMAND   python tools/train.py pretrain/configs/wsp.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/yfcc15m.py"]
method = "wsp"
parent = "mae"  # the start; any other with --checkpoint
captions = "noisy"
model = dict(type="WSP", num_classes="<data>")
train_dataloader = dict(
    dataset=dict(views=dict(image=dict(scale=(0.35, 1.0), flip=0.5)), texts={}, tags=dict(min_count=5))
)
at_scale = dict(
    tiny=dict(recipe=dict(updates=300)),
    study=dict(recipe=dict(updates=750)),
    paper=dict(  # one epoch, as published; batch and rate are CLIP's on the same data
        train_dataloader=dict(dataset=dict(views=dict(image=dict(scale=(0.08, 1.0))), tags=dict(min_count=100))),
        recipe=dict(batch=4096, epochs=1, warm_up=0.05, rate=5e-4, floor=0.0, decay=0.1),
    ),
)
