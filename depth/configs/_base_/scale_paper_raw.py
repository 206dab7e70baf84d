"""Scale "paper-raw": as "paper", but images are only scaled to [0, 1], as MIM-Depth-Estimation's code does with every
encoder; "paper" keeps the mean and the standard deviation of the encoder's pretraining."""

_base_ = ["./scale_paper.py"]
pretrain_scale = "paper"
image_constants = "recipe"
model = dict(data_preprocessor=dict(mean=[0.0] * 3, std=[255.0] * 3))
