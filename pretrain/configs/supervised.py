"""Supervised classification of the largest object's shape: DeiT's loss without its heavy mixing.

COMMAND   python tools/train.py pretrain/configs/supervised.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/pretrain.py"]
method = "supervised"
data = dict(name="scenes", kind="image_folder", root="data/scenes/imagefolder/pretrain", scenes_root="data/scenes")
model = dict(type="Supervised", num_classes=None, smoothing=0.1)
train_dataloader = dict(dataset=dict(views=dict(image=dict(scale=(0.35, 1.0), flip=0.5))))
at_scale = dict(
    study=dict(data=dict(root="data/scenes-study/imagefolder/pretrain", scenes_root="data/scenes-study"))
)
