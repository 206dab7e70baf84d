"""Linear depth on NYUv2 at scale "paper": whole images, DINOv2's bins and number of steps."""

_base_ = ["../../../depth/configs/_base_/nyuv2.py"]
data = dict(size=(480, 640))
test_evaluator = dict(eigen_crop=True)
probe = dict(lr=1e-3, weight_decay=0.01, batch=16, iterations=38_400, warm_up=1500, bins=256)
