"""LaCLIP's recipe at scale "paper" (LijieFan/LaCLIP, ViT-B/16), for any source of captions: 35 epochs, batches of 8192.

The config adds its data, and with them the updates of an epoch: the length of training and of the warm-up.
"""

_base_ = ["./contrastive.py"]
paper = dict(
    global_batch_size=8192,
    model=dict(
        text=dict(embed_dim=512, vocabulary="clip", context=77, width=512, layers=12, heads=8, act="quick_gelu")
    ),
    train_dataloader=dict(dataset=dict(context=77)),
    optim_wrapper=dict(optimizer=dict(lr=1e-3, weight_decay=0.5), clip_grad=None),
)
at_scale = dict(paper=paper)
del paper
