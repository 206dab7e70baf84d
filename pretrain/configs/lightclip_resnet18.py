"""LightCLIP with ResNet-18.

COMMAND   python tools/train.py pretrain/configs/lightclip_resnet18.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py light` prints (docs/study.md, "LightCLIP on light encoders")
"""

_base_ = ["./_base_/resnet18.py"]
method = "lightclip_resnet18"
model = dict(type="LightCLIP", image_size=64)
at_scale = dict(paper=dict(model=dict(image_size=224)))
