"""What all pretraining configs share: encoder, image statistics, loop, optimizer, schedule. `None` is filled later."""

task = "pretrain"
captions = None
custom_imports = dict(imports=["engine.parts", "backbones", "pretrain"], allow_failed_imports=False)
custom_hooks = [dict(type="PretrainHook")]

encoder = dict(name="vit_tiny_patch16_224", kwargs=dict(img_size=64, patch_size=8, embed_dim=96, depth=4, num_heads=3))
model = dict(encoder=encoder, data_preprocessor=dict(type="ImagePreprocessor"))  # ImageNet's mean and std

train_cfg = dict(type="AddressedLoop", max_iters=1000)
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    collate_fn=dict(type="pretrain_collate"),
    dataset=dict(type="ImageTextShards", size=64),
)
optim_wrapper = dict(
    constructor="DecayGroups",
    optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=3.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=False, begin=100, end="<last>", T_max="<last>"),
]
