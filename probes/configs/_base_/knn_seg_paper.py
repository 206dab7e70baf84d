"""k-NN segmentation of ADE20K at scale "paper"."""

_base_ = ["../../../seg_configs/_base_/ade20k.py"]
