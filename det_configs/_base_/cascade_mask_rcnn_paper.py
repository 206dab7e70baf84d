"""Cascade Mask R-CNN 3x as iBOT's and dBOT's code trains it: many sizes, three heads of four convolutions with GIoU, 36
epochs of batches of 16.

source                                             methods     layer decay  drop-path
dBOT vit_base_giou_4conv1f, absolute positions     all others  0.65         0.2
dBOT beit_base_giou_4conv1f, relative positions    beit, fd    0.8          0.1
"""

_base_ = ["./scale_paper.py", "./giou_heads.py"]
global_batch_size = 16
drop_path_rate = 0.2
epoch = 7330  # iterations: the 117 266 images with objects, by batches of 16
model = dict(
    rpn_head=dict(loss_bbox=dict(type="SmoothL1Loss", beta=1 / 9)),
    roi_head=dict(bbox_head=dict.fromkeys("012", _base_.giou_head)),  # of each of the three, what it states
    train_cfg=dict(
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(max_per_img=2000),
        rcnn={stage: dict(sampler=dict(num=512)) for stage in "012"},
    ),
)
train_dataloader = dict(dataset=dict(pipeline=_base_.multi_scale))
train_cfg = dict(max_iters=36 * epoch)
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(layer_decay=0.65))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=501),
    dict(type="MultiStepLR", by_epoch=False, milestones=[27 * epoch, 33 * epoch], gamma=0.1),
]
relative = dict(drop_path_rate=0.1, optim_wrapper=dict(paramwise_cfg=dict(layer_decay=0.8)))
by_method = dict(beit=relative, fd=relative)
