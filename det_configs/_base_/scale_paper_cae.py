"""Scale "paper-cae": Mask R-CNN 1x in CAE's form (ViT-B): training at many sizes, four convolutions with GIoU, batches
of 32 on 2000 proposals an image; an encoder of CAE keeps its fixed positions. For CAE's ViT-L: --cfg-options
optim_wrapper.optimizer.lr=2e-4 optim_wrapper.paramwise_cfg.layer_decay=0.85."""

_base_ = ["./scale_paper.py", "./giou_heads.py"]
pretrain_scale = "paper"
global_batch_size = 32
drop_path_rate = 0.2
epoch = 3665  # iterations: the 117 266 images with objects, by batches of 32
model = dict(
    roi_head=dict(bbox_head=_base_.giou_head),
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000), rcnn=dict(sampler=dict(num=512))),
)
by_method = dict(cae=dict(model=dict(backbone=dict(freeze_positions=True))))
train_dataloader = dict(dataset=dict(pipeline=_base_.multi_scale))
train_cfg = dict(max_iters=12 * epoch)
optim_wrapper = dict(optimizer=dict(lr=3e-4), paramwise_cfg=dict(layer_decay=0.75))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=501),
    dict(type="MultiStepLR", by_epoch=False, milestones=[9 * epoch, 11 * epoch], gamma=0.1),
]
