"""CLIP with MobileNetV2 and the data, text tower and schedule of LightCLIP, whose terms are measured against it.

COMMAND   python tools/train.py pretrain/configs/clip_mobilenetv2.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py light` prints (docs/study.md, "LightCLIP on light encoders")
"""

_base_ = ["./_base_/mobilenetv2.py"]
method = "clip_mobilenetv2"
model = dict(type="CLIP")
