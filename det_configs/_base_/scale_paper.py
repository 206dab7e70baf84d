"""Scale "paper": COCO and what all its recipes share; each has a file of its own. Numbers, sources: docs/protocols.md.

--scale paper         mask_rcnn_paper.py          Mask R-CNN 1x in its plain form, for plain ViTs
--scale paper-cae     scale_paper_cae.py          Mask R-CNN 1x in CAE's form
--scale paper-mobile  scale_paper_mobile.py       Mask R-CNN 1x for hierarchical encoders
--scale paper         cascade_mask_rcnn_paper.py  Cascade Mask R-CNN 3x
"""

_base_ = ["./coco_classes.py"]
data = dict(
    _delete_=True, name="coco", kind="coco", root="data/coco", annotations="annotations/instances_{split}.json",
    images="{split}", splits=dict(train="train2017", val="val2017", test="val2017"), classes=_base_.classes,
    size=(800, 1333),
)  # fmt: skip
proposals = dict(nms_pre=2000, max_per_img=1000)
model = dict(
    neck=dict(out_channels=256),
    rpn_head=dict(in_channels=256, feat_channels=256, anchor_generator=dict(scales=[8])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=256, finest_scale=56, roi_layer=dict(sampling_ratio=0)),
        mask_roi_extractor=dict(out_channels=256, finest_scale=56, roi_layer=dict(sampling_ratio=0)),
        mask_head=dict(num_convs=4, in_channels=256, conv_out_channels=256),
    ),
    train_cfg=dict(rpn=dict(sampler=dict(num=256)), rpn_proposal=proposals),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000), rcnn=dict(max_per_img=100)),
)
train_pipeline = [
    dict(type="LoadImageStrict"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDet"),
]
train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    dataset=dict(filter_cfg=dict(filter_empty_gt=True, min_size=32), pipeline=train_pipeline),
)
test_dataloader = dict(batch_size=1, num_workers=4, persistent_workers=True)
val_dataloader = test_dataloader
train_cfg = dict(by_aspect=True)  # wide images with wide ones, as mmdet's AspectRatioBatchSampler has it
optim_wrapper = dict(optimizer=dict(weight_decay=0.05), clip_grad=None)
sync_bn = "torch"
state_interval = 2000
