"""Mask R-CNN 1x in its plain form: one size of image, two linear layers, L1; 12 epochs of batches of 16."""

_base_ = ["./scale_paper.py"]
refused_encoders = dict(hierarchical="use --scale paper-mobile, the recipe of such encoders")
global_batch_size = 16
drop_path_rate = 0.2
epoch = 7330  # iterations: the 117 266 images with objects, by batches of 16
model = dict(
    roi_head=dict(bbox_head=dict(in_channels=256, fc_out_channels=1024)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=512))),
)
train_cfg = dict(max_iters=12 * epoch)
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(layer_decay=0.75))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=501),
    dict(type="MultiStepLR", by_epoch=False, milestones=[8 * epoch, 11 * epoch], gamma=0.1),
]
