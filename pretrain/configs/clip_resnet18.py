"""CLIP with ResNet-18 and the data, text tower and schedule of LightCLIP, whose terms are measured against it.

COMMAND   python tools/train.py pretrain/configs/clip_resnet18.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py light` prints (docs/study.md, "LightCLIP on light encoders")
"""

_base_ = ["./_base_/resnet18.py"]
method = "clip_resnet18"
model = dict(type="CLIP")
