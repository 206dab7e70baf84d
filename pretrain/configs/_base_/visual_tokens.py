"""What BEiT and CAE share: a visual tokenizer, BEiT's views for it (microsoft/unilm/beit), and the rate."""

_base_ = ["./imagenet.py"]
model = dict(tokenizer=dict(type="dvae"))
train_dataloader = dict(
    dataset=dict(
        views=dict(
            image=dict(scale=(0.2, 1.0), flip=0.5),
            pixels=dict(of="image", size=64, interpolation="lanczos"),  # 8 x 8 tokens
        )
    )
)
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)))
recipe = dict(warm_up_updates=25, floor=1e-5)
at_scale = dict(
    paper=dict(
        model=dict(tokenizer=dict(_delete_=True, type="dalle", file="data/dalle/encoder.pkl")),
        train_dataloader=dict(
            dataset=dict(views=dict(image=dict(scale=(0.08, 1.0), interpolation="bicubic"), pixels=dict(size=112)))
        ),
        recipe=dict(batch=2048, drop_last=True, rate=1.5e-3, floor=1e-5, decay=0.05),
    )
)
