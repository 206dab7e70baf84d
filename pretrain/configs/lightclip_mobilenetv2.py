"""LightCLIP with MobileNetV2.

COMMAND   python tools/train.py pretrain/configs/lightclip_mobilenetv2.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py light` prints (docs/study.md, "LightCLIP on light encoders")
"""

_base_ = ["./_base_/mobilenetv2.py"]
method = "lightclip_mobilenetv2"
model = dict(type="LightCLIP", image_size=64)
at_scale = dict(paper=dict(model=dict(image_size=224)))
