"""Scale "paper": ADE20K at 512 pixels in mmseg's layout. What UperNet and SemanticFPN share; the heads' recipes are in
`upernet_paper.py` and `semantic_fpn_paper.py`. Numbers and their sources: docs/protocols.md."""

_base_ = ["./ade20k.py"]
resize = dict(scale=(2048, 512), keep_ratio=True)
train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageStrict"),
            dict(type="LoadLabels"),
            dict(type="RandomResize", ratio_range=(0.5, 2.0), **resize),
            dict(type="CountedCrop", crop_size="<data>", cat_max_ratio=0.75),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PhotoMetricTables"),
            dict(type="PackSeg"),
        ]
    ),
)
test_dataloader = dict(
    batch_size=1,  # images keep their aspect, so no two need have the same size
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageStrict"),
            dict(type="Resize", **resize),
            dict(type="LoadLabels"),
            dict(type="PackSeg"),
        ]
    ),
)
val_dataloader = test_dataloader
optim_wrapper = dict(clip_grad=None)
sync_bn = "torch"  # statistics over all processes
state_interval = 2000
classifier = dict(dropout_ratio=0.1, init_cfg=dict(std=0.01))  # mmseg's own start: there are steps enough to grow
