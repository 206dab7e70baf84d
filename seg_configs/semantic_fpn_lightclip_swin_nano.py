"""SemanticFPN on the encoder of LightCLIP with Swin-Nano.

COMMAND   python tools/train.py seg_configs/semantic_fpn_lightclip_swin_nano.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/semantic_fpn.py"]
method = "lightclip_swin_nano"
