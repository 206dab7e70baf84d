"""LightCLIP with Swin-Nano: ViDT's (Song et al. 2022), half the width of Swin-Tiny; LightCLIP may mean another.

COMMAND   python tools/train.py pretrain/configs/lightclip_swin_nano.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py full --encoders random lightclip_swin_nano` prints
"""

_base_ = ["./_base_/light_encoder.py"]
method = "lightclip_swin_nano"
model = dict(
    type="LightCLIP",
    image_size=64,
    encoder=dict(
        _delete_=True,
        name="swin_tiny_patch4_window7_224",
        kwargs=dict(
            embed_dim=48, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.0,
            img_size=64, window_size=4,  # windows of 7 cells would be padded at 64 pixels
        ),
    ),
)  # fmt: skip
at_scale = dict(
    paper=dict(
        model=dict(
            image_size=224,
            encoder=dict(
                name="swin_tiny_patch4_window7_224",
                kwargs=dict(embed_dim=48, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.0),
            ),
        )
    )
)
