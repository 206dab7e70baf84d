"""LightCLIP with Swin-Nano: ViDT's (Song et al. 2022), half the width of Swin-Tiny; LightCLIP may mean another.

COMMAND   python tools/train.py pretrain/configs/lightclip_swin_nano.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/lightclip.py"]
method = "lightclip_swin_nano"
nano = dict(embed_dim=48, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.0)
encoder = dict(_delete_=True, name="swin_tiny_patch4_window7_224", kwargs=dict(img_size=64, **nano))
model = dict(encoder=encoder)
full_size = dict(_delete_=True, name="swin_tiny_patch4_window7_224", kwargs=nano)
at_scale = dict(paper=dict(encoder=full_size, model=dict(encoder=full_size)))
