"""Scale "paper": Mask R-CNN 1x on COCO in its plain form, one size of image; sources, departures: docs/protocols.md."""

_base_ = ["./coco_classes.py"]
data = dict(
    _delete_=True, name="coco", kind="coco", root="data/coco", annotations="annotations/instances_{split}.json",
    images="{split}", splits=dict(train="train2017", val="val2017", test="val2017"), classes=_base_.classes,
    size=(800, 1333),
)  # fmt: skip
global_batch_size = 16
drop_path_rate = 0.2
epoch = 7330  # iterations: the 117 266 images with objects, by batches of 16
proposals = dict(nms_pre=2000, max_per_img=1000)
model = dict(
    neck=dict(out_channels=256),
    rpn_head=dict(in_channels=256, feat_channels=256, anchor_generator=dict(scales=[8])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=256, finest_scale=56, roi_layer=dict(sampling_ratio=0)),
        bbox_head=dict(in_channels=256, fc_out_channels=1024),
        mask_roi_extractor=dict(out_channels=256, finest_scale=56, roi_layer=dict(sampling_ratio=0)),
        mask_head=dict(num_convs=4, in_channels=256, conv_out_channels=256),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=256)),
        rpn_proposal=proposals,
        rcnn=dict(sampler=dict(num=512), assigner=dict(match_low_quality=True)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000), rcnn=dict(max_per_img=100)),
)
resize = dict(type="Resize", scale=(1333, 800), keep_ratio=True)
train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    dataset=dict(
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[
            dict(type="LoadImageStrict"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            resize,
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ],
    ),
)
test_dataloader = dict(batch_size=1, num_workers=4, persistent_workers=True)
val_dataloader = test_dataloader
train_cfg = dict(max_iters=12 * epoch)
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0.05), paramwise_cfg=dict(layer_decay=0.75), clip_grad=None)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=501),
    dict(type="MultiStepLR", by_epoch=False, milestones=[8 * epoch, 11 * epoch], gamma=0.1),
]
sync_bn = "torch"
state_interval = 2000
