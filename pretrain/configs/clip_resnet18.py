"""CLIP with ResNet-18 and the data, text tower and schedule of LightCLIP, whose terms are measured against it.

COMMAND   python tools/train.py pretrain/configs/clip_resnet18.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py full --encoders random clip_resnet18` prints
"""

_base_ = ["./_base_/light_encoder.py"]
method = "clip_resnet18"
model = dict(type="CLIP", encoder=dict(_delete_=True, name="resnet18", kwargs={}))
