"""UperNet on the encoder of LightCLIP with ResNet-18.

COMMAND   python tools/train.py seg_configs/upernet_lightclip_resnet18.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "UperNet"
"""

_base_ = ["./_base_/upernet.py"]
method = "lightclip_resnet18"
