"""Linear segmentation of ADE20K at scale "paper": DINOv2's rates, 40 k steps of 16 images in its training."""

_base_ = ["../../../seg_configs/_base_/ade20k.py"]
probe = dict(lr=1e-3, weight_decay=1e-4, batch=16, iterations=40_000, warm_up=1500)
