"""Depth on the encoder of CLIP on noisy captions.

COMMAND   python tools/train.py depth/configs/clip.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "Depth"
"""

_base_ = ["./depth.py"]
method = "clip"
