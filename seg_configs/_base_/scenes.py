"""The scenes as a segmentation task: the data of the embedded scales, and what is measured."""

data = dict(
    name="scenes", kind="seg", root="data/scenes", scenes_root="data/scenes",
    images="images/{split}", labels="seg/{split}", size=(64, 64),
    classes=("floor", "wall", "sphere", "cube", "cylinder", "cone", "torus", "capsule"),
)  # fmt: skip
test_evaluator = dict(type="ClasswiseIoU", iou_metrics=["mIoU"])
metrics = dict(
    mIoU=dict(source="mIoU", unit="%", direction="up", primary=True),
    mAcc=dict(source="mAcc", unit="%", direction="up"),
    aAcc=dict(source="aAcc", unit="%", direction="up"),
)
