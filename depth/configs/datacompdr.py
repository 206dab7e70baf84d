"""Depth on the encoder of CLIP on real and synthetic captions (DataCompDR).

COMMAND   python tools/train.py depth/configs/datacompdr.py
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "Depth"
"""

_base_ = ["./_base_/depth.py"]
method = "datacompdr"
