"""WSP after MAE (MAWS): the words of noisy captions as labels, for an encoder that MAE trained first.

COMMAND   python tools/train.py pretrain/configs/wsp.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/image_text.py"]
method = "wsp"
parent = "mae"  # the start; any other with --checkpoint
captions = "noisy"
model = dict(type="WSP", num_classes="<data>")
train_dataloader = dict(
    dataset=dict(views=dict(image=dict(scale=(0.35, 1.0), flip=0.5)), texts={}, tags=dict(min_count=5))
)
epoch = 15_255_632 // 4096  # updates
paper = dict(  # one epoch, as published; batch, rate and decay are CLIP's on the same data
    data=dict(_delete_=True, name="yfcc15m", kind="image_text", root="data/yfcc15m/shards", pattern="*.tar"),
    global_batch_size=4096,
    train_cfg=dict(max_iters=epoch),
    train_dataloader=dict(dataset=dict(views=dict(image=dict(scale=(0.08, 1.0))), tags=dict(min_count=100))),
    optim_wrapper=dict(optimizer=dict(lr=5e-4, weight_decay=0.1)),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=epoch // 20),
        dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=epoch // 20, end="<last>", T_max="<last>"),
    ],
)
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=300)), study=dict(train_cfg=dict(max_iters=750)), paper=paper)
del epoch, paper
