"""Monocular depth with the head of MIM-Depth-Estimation on any encoder; NYUv2 layout and protocol.

COMMAND   python tools/train.py depth/configs/depth.py --encoder NAME|FOLDER
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "Depth"
"""

_base_ = ["../../engine/configs/_base_/finetuning.py", "./_base_/scenes.py"]
task = "depth"
head = "DepthHead"
default_scope = "mmseg"
custom_imports = dict(imports=["engine.parts", "backbones", "depth"], allow_failed_imports=False)

model = dict(
    type="DepthEstimator",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean="<encoder>",
        std="<encoder>",
        bgr_to_rgb=True,
        size="<data>",
        pad_val=0,
        seg_pad_val=0,  # of the depth map too: 0 is "not measured"
    ),
    backbone=dict(pyramid=False),  # a plain ViT gives its last block at the stride of its patch
    decode_head=dict(
        type="DepthHead",
        in_channels="<encoder>",
        feature_stride="<encoder>",
        in_index=-1,
        embed_dim=192,
        max_depth="<data>",
    ),
    train_cfg={},
    test_cfg=dict(mode="whole"),
)

train_pipeline = [
    dict(type="LoadImageStrict"),
    dict(type="LoadDepth"),
    dict(type="Resize", scale="<data>", keep_ratio=False),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSeg"),
]
test_pipeline = [
    dict(type="LoadImageStrict"),
    dict(type="Resize", scale="<data>", keep_ratio=False),
    dict(type="LoadDepth"),  # after the resize: the prediction is brought back to the file's own size
    dict(type="PackSeg"),
]
train_dataloader = dict(batch_size=16, num_workers=0, dataset=dict(type="DepthFolder", pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="DepthFolder", test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="DepthFolder", test_mode=True, pipeline=test_pipeline),
)
val_evaluator = _base_.test_evaluator

param_scheduler = [
    dict(type="LinearLR", start_factor=1e-2, by_epoch=False, begin=0, end=40),
    dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=40, end="<last>"),
]
