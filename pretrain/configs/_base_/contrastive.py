"""CLIP's text tower. For the embedded data it has the captions' own vocabulary and 48 tokens, the longest aligned
caption; at scale "paper" it is CLIP's and its kin's (facebookresearch/SLIP)."""

_base_ = ["./yfcc15m.py"]
model = dict(text=dict(embed_dim=96, vocabulary="<data>", context=48, width=96, layers=4, heads=3))
train_dataloader = dict(dataset=dict(context=48))
at_scale = dict(
    paper=dict(
        model=dict(
            text=dict(
                embed_dim=512, vocabulary="clip", context=77, width=512, layers=12, heads=8, act="quick_gelu", eps=1e-5
            )
        ),
        train_dataloader=dict(
            dataset=dict(context=77, interpolation="bilinear"),
            collate_fn=dict(packed=True),  # most places are padding
        ),
    )
)
