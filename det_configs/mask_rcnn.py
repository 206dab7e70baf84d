"""Mask R-CNN (He et al. 2017) with FPN.

COMMAND   python tools/train.py det_configs/mask_rcnn.py --encoder NAME|FOLDER
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "Mask R-CNN 1x"
"""

_base_ = ["../engine/configs/_base_/finetuning.py"]
default_scope = "mmdet"
custom_imports = dict(imports=["engine.parts", "datasets.detection", "datasets.segmentation", "backbones"])
task, head = "mask_rcnn", "Mask R-CNN"
data = dict(
    name="scenes", kind="coco", root="data/scenes", scenes_root="data/scenes",
    annotations="coco/instances_{split}.json", images="images/{split}",
    classes=("sphere", "cube", "cylinder", "cone", "torus", "capsule"), size=(64, 64),
)  # fmt: skip

rpn_proposals = dict(nms_pre="<data>", max_per_img="<data>", nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0)
assigner = dict(type="MaxIoUAssigner", ignore_iof_thr=-1, match_low_quality=True)
model = dict(
    type="MaskRCNN",
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean="<encoder>", std="<encoder>", bgr_to_rgb=True, pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone={},
    neck=dict(type="FPN", in_channels="<encoder>", out_channels=32, num_outs=5),
    rpn_head=dict(
        type="RPNHead", in_channels=32, feat_channels=32,
        anchor_generator=dict(type="AnchorGenerator", scales=[4], ratios=[0.5, 1.0, 2.0], strides="<encoder>"),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True), loss_bbox=dict(type="L1Loss"),
    ),
    roi_head=dict(
        type="StandardRoIHead",
        bbox_roi_extractor=dict(
            type="SingleRoIExtractor", out_channels=32, featmap_strides="<encoder>", finest_scale=14,
            roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=2),
        ),
        bbox_head=dict(
            type="Shared2FCBBoxHead", in_channels=32, fc_out_channels=128, roi_feat_size=7, num_classes="<data>",
            bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type="CrossEntropyLoss"), loss_bbox=dict(type="L1Loss"),
        ),
        mask_roi_extractor=dict(
            type="SingleRoIExtractor", out_channels=32, featmap_strides="<encoder>", finest_scale=14,
            roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=2),
        ),
        mask_head=dict(
            type="FCNMaskHead", num_convs=2, in_channels=32, conv_out_channels=32, num_classes="<data>",
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(**assigner, pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(type="RandomSampler", num=32, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1, pos_weight=-1,
        ),
        rpn_proposal=rpn_proposals,
        rcnn=dict(
            assigner=dict(**assigner, pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
            sampler=dict(type="RandomSampler", num=32, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            mask_size=28, pos_weight=-1,
        ),
    ),
    test_cfg=dict(
        rpn=rpn_proposals,
        rcnn=dict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img="<data>", mask_thr_binary=0.5),
    ),
)  # fmt: skip

train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(
        type="CocoFolder",
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[
            dict(type="LoadImageStrict"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="RandomResize", scale="<data>", ratio_range=(0.75, 1.0), keep_ratio=True),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDet"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CocoFolder",
        test_mode=True,
        pipeline=[
            dict(type="LoadImageStrict"),
            dict(type="Resize", scale="<data>", keep_ratio=True),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="PackDet", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
        ],
    ),
)
val_dataloader = test_dataloader
val_evaluator = dict(type="CocoFolderMetric", metric=["bbox", "segm"])
test_evaluator = val_evaluator
# AP is in [0, 1] and rounded to three decimals by mmdet; in percent that is a tenth. -1: there is no such object.
average = dict(unit="%", direction="up", factor=100)
finer = dict(**average, absent=-1)
metrics = dict(
    box_AP=dict(source="coco/bbox_mAP", primary=True, **average),
    mask_AP=dict(source="coco/segm_mAP", **average),
    box_AP50=dict(source="coco/bbox_mAP_50", **finer), box_AP75=dict(source="coco/bbox_mAP_75", **finer),
    box_AP_small=dict(source="coco/bbox_mAP_s", **finer), box_AP_medium=dict(source="coco/bbox_mAP_m", **finer),
    box_AP_large=dict(source="coco/bbox_mAP_l", **finer),
    mask_AP50=dict(source="coco/segm_mAP_50", **finer), mask_AP75=dict(source="coco/segm_mAP_75", **finer),
    mask_AP_small=dict(source="coco/segm_mAP_s", **finer), mask_AP_medium=dict(source="coco/segm_mAP_m", **finer),
    mask_AP_large=dict(source="coco/segm_mAP_l", **finer),
)  # fmt: skip
