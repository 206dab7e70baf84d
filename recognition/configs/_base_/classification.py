"""Image classification by mmengine's runner: what fine-tuning and the probes of scale "paper" share."""

_base_ = ["../../../engine/configs/_base_/finetuning.py"]
custom_imports = dict(imports=["engine.parts", "backbones", "recognition.finetune"], allow_failed_imports=False)

model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(type="ImgDataPreprocessor", mean="<encoder>", std="<encoder>"),
    backbone=dict(type="PooledEncoder", pool="own"),
    num_classes="<data>",
)
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="LabelledFolder", root="<data>", size="<data>"),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="LabelledFolder", root="<data>", size="<data>"),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="Accuracy")
test_evaluator = dict(type="Accuracy")
metrics = dict(
    top1=dict(source="top1", factor=100, unit="%", direction="up", primary=True),
    mean_per_class=dict(source="mean_per_class", factor=100, unit="%", direction="up"),
)
