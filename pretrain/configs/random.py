"""Random initialisation: the floor of every table. Nothing is trained.

COMMAND   python tools/train.py pretrain/configs/random.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/image_text.py"]
method = "random"
model = dict(type="RandomInit")
param_scheduler = []
nothing = dict(train_cfg=dict(max_iters=0))
imagenet = dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train")
at_scale = dict(tiny=nothing, study=nothing, paper=dict(**nothing, data=imagenet))
del nothing, imagenet
