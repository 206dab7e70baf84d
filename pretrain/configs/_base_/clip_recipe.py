"""CLIP's published recipe on YFCC15M (facebookresearch/SLIP): 25 epochs, the first from 1e-6, then a cosine to 1e-5."""

_base_ = ["./contrastive.py"]
epoch = 15_255_632 / 4096  # updates
paper = dict(
    data=dict(_delete_=True, name="yfcc15m", kind="image_text", root="data/yfcc15m/shards", pattern="*.tar"),
    global_batch_size=4096,
    train_cfg=dict(max_iters=int(25 * epoch)),
    model=dict(
        text=dict(embed_dim=512, vocabulary="clip", context=77, width=512, layers=12, heads=8, act="quick_gelu")
    ),
    train_dataloader=dict(dataset=dict(context=77)),
    optim_wrapper=dict(optimizer=dict(lr=5e-4, weight_decay=0.5), clip_grad=None),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-6 / 5e-4, by_epoch=False, begin=0, end=int(epoch)),
        dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False, begin=int(epoch), end="<last>", T_max="<last>"),
    ],
)
at_scale = dict(paper=paper)
del epoch, paper
