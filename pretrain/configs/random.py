"""Random initialisation: the floor of every table. Nothing is trained.

COMMAND   python tools/train.py pretrain/configs/random.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/imagenet.py"]
method = "random"
model = dict(type="RandomInit")
param_scheduler = []
at_scale = dict(
    tiny=dict(recipe=dict(updates=0)),
    study=dict(recipe=dict(updates=0)),
    paper=dict(recipe=dict(updates=0, rate=1e-3, decay=0.05)),
)
