"""The ceiling: dense labels of the pretraining split. A reference line, not a competitor.

COMMAND   python tools/train.py pretrain/configs/oracle.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/pretrain.py"]
method = "oracle"
data = dict(name="scenes", kind="dense", root="data/scenes", scenes_root="data/scenes")
model = dict(type="Oracle", num_classes=8)  # floor, wall and six shapes
train_dataloader = dict(dataset=dict(views=dict(image=dict(scale=(0.5, 1.0), flip=0.5))))
at_scale = dict(
    study=dict(data=dict(root="data/scenes-study", scenes_root="data/scenes-study"), recipe=dict(updates=1500)),
    paper="its labels, dense ones of the pretraining images, exist for the embedded scenes alone",
)
