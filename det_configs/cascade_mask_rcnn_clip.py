"""Cascade Mask R-CNN on the encoder of CLIP on noisy captions.

COMMAND   python tools/train.py det_configs/cascade_mask_rcnn_clip.py
COST      docs/protocols.md, "COST"
EXPECTED  docs/protocols.md, "Cascade Mask R-CNN 3x"
"""

_base_ = ["./cascade_mask_rcnn.py"]
method = "clip"
