"""What UperNet and SemanticFPN share: schedule, pipelines, test."""

_base_ = ["../../engine/configs/_base_/finetuning.py", "./scenes.py"]
default_scope = "mmseg"
custom_imports = dict(imports=["engine.parts", "datasets.segmentation", "backbones"])

train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(
        type="SegFolder",
        pipeline=[
            dict(type="LoadImageStrict"),
            dict(type="LoadLabels"),
            dict(type="RandomResize", scale="<data>", ratio_range=(0.8, 1.4), keep_ratio=True),
            dict(type="CountedCrop", crop_size="<data>", cat_max_ratio=0.9),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackSeg"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="SegFolder",
        test_mode=True,
        pipeline=[
            dict(type="LoadImageStrict"),
            dict(type="Resize", scale="<data>", keep_ratio=False),
            dict(type="LoadLabels"),  # after Resize: predictions are scored at the labels' own resolution
            dict(type="PackSeg"),
        ],
    ),
)
val_dataloader = test_dataloader
val_evaluator = _base_.test_evaluator

preprocessor = dict(
    type="SegDataPreProcessor",
    mean="<encoder>",
    std="<encoder>",
    bgr_to_rgb=True,
    size="<data>",
    pad_val=0,
    seg_pad_val=255,
)
