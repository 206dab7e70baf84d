"""Mask R-CNN on the encoder of MaskCLIP.

COMMAND   python tools/train.py det_configs/mask_rcnn_maskclip.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "Mask R-CNN 1x"
"""

_base_ = ["./mask_rcnn.py"]
method = "maskclip"
