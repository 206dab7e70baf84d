"""Swin-Nano: ViDT's (Song et al. 2022), half the width of Swin-Tiny; LightCLIP may mean another.

On the embedded data the rate of the others drives both towers to constant features (docs/study.md, "LightCLIP on light
encoders"): it rises to a quarter of theirs, over more updates.
"""

_base_ = ["./light_encoder.py"]
model = dict(
    encoder=dict(
        _delete_=True,
        name="swin_tiny_patch4_window7_224",
        kwargs=dict(
            embed_dim=48, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.0,
            img_size=64, window_size=4,  # windows of 7 cells would be padded at 64 pixels
        ),
    ),
)  # fmt: skip
recipe = dict(rate=2.5e-4, warm_up_updates=100)
at_scale = dict(
    tiny=dict(recipe=dict(warm_up_updates=50)),
    paper=dict(
        model=dict(
            encoder=dict(
                name="swin_tiny_patch4_window7_224",
                kwargs=dict(embed_dim=48, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.0),
            )
        )
    ),
)
