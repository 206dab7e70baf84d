"""Cascade Mask R-CNN on the encoder of LightCLIP with MobileNetV2.

COMMAND   python tools/train.py det_configs/cascade_mask_rcnn_lightclip_mobilenetv2.py
COST      docs/protocols.md, "COST"
EXPECTED  docs/protocols.md, "Cascade Mask R-CNN 3x"
"""

_base_ = ["./_base_/cascade_mask_rcnn.py"]
method = "lightclip_mobilenetv2"
