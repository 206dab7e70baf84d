"""LightCLIP with Swin-Nano (_base_/swin_nano.py).

COMMAND   python tools/train.py pretrain/configs/lightclip_swin_nano.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py light` prints (docs/study.md, "LightCLIP on light encoders")
"""

_base_ = ["./_base_/swin_nano.py"]
method = "lightclip_swin_nano"
model = dict(type="LightCLIP", image_size=64)
at_scale = dict(paper=dict(model=dict(image_size=224)))
