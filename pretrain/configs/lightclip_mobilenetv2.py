"""LightCLIP with MobileNetV2.

COMMAND   python tools/train.py pretrain/configs/lightclip_mobilenetv2.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py full --encoders random lightclip_mobilenetv2` prints
"""

_base_ = ["./_base_/light_encoder.py"]
method = "lightclip_mobilenetv2"
model = dict(type="LightCLIP", image_size=64, encoder=dict(_delete_=True, name="mobilenetv2_100", kwargs={}))
at_scale = dict(paper=dict(model=dict(image_size=224, encoder=dict(name="mobilenetv2_100"))))
