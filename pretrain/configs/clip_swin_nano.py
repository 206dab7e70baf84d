"""CLIP with Swin-Nano and the data, text tower and schedule of LightCLIP, whose terms are measured against it.

COMMAND   python tools/train.py pretrain/configs/clip_swin_nano.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `python tools/study.py light` prints (docs/study.md, "LightCLIP on light encoders")
"""

_base_ = ["./_base_/swin_nano.py"]
method = "clip_swin_nano"
model = dict(type="CLIP")
