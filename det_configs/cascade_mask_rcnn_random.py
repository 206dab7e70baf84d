"""Cascade Mask R-CNN on a randomly initialised encoder.

COMMAND   python tools/train.py det_configs/cascade_mask_rcnn_random.py
COST      docs/protocols.md, "COST"
EXPECTED  docs/protocols.md, "Cascade Mask R-CNN 3x"
"""

_base_ = ["./_base_/cascade_mask_rcnn.py"]
method = "random"
