"""Cascade Mask R-CNN on the encoder of MaskCLIP.

COMMAND   python tools/train.py det_configs/cascade_mask_rcnn_maskclip.py
COST      docs/protocols.md, "COST"
EXPECTED  docs/protocols.md, "Cascade Mask R-CNN 3x"
"""

_base_ = ["./cascade_mask_rcnn.py"]
method = "maskclip"
