"""LightCLIP with ResNet-18.

COMMAND   python tools/train.py pretrain/configs/lightclip_resnet18.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py full --encoders random lightclip_resnet18` prints
"""

_base_ = ["./_base_/light_encoder.py"]
method = "lightclip_resnet18"
model = dict(type="LightCLIP", image_size=64, encoder=dict(_delete_=True, name="resnet18", kwargs={}))
at_scale = dict(paper=dict(model=dict(image_size=224)))
