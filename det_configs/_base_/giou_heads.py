"""What CAE's and dBOT's detection share: the box head of four convolutions with GIoU, and training at many sizes
(the augmentation of DETR and Sparse R-CNN)."""

# BN becomes SyncBN by sync_bn="torch"; the loss is that of the decoded boxes, in pixels.
giou_head = dict(
    type="Shared4Conv1FCBBoxHead", in_channels=256, conv_out_channels=256, fc_out_channels=1024,
    norm_cfg=dict(type="BN"), reg_decoded_bbox=True, loss_bbox=dict(type="GIoULoss", loss_weight=10.0),
)  # fmt: skip
any_of = dict(type="RandomChoiceResize", scales=[(short, 1333) for short in range(480, 801, 32)], keep_ratio=True)
crop_first = [
    dict(type="RandomChoiceResize", scales=[(400, 1333), (500, 1333), (600, 1333)], keep_ratio=True),
    dict(type="RandomCrop", crop_type="absolute_range", crop_size=(384, 600), allow_negative_crop=True),
    any_of,
]
multi_scale = [
    dict(type="LoadImageStrict"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomChoice", transforms=[[any_of], crop_first]),
    dict(type="PackDet"),
]
