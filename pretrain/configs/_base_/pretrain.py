"""What all pretraining configs share: encoder, image statistics, loop, optimizer, recipe."""

task = "pretrain"
captions = None
custom_imports = dict(imports=["engine.parts", "backbones", "pretrain"], allow_failed_imports=False)
custom_hooks = [dict(type="PretrainHook")]

model = dict(
    encoder=dict(
        name="vit_tiny_patch16_224", kwargs=dict(img_size=64, patch_size=8, embed_dim=96, depth=4, num_heads=3)
    ),
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet's mean and std
)

train_cfg = dict(type="AddressedLoop")
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    collate_fn=dict(type="pretrain_collate"),
    dataset=dict(type="ImageTextShards", size=64),
)
optim_wrapper = dict(
    constructor="DecayGroups", optimizer=dict(type="AdamW", betas=(0.9, 0.98), fused=True), clip_grad=dict(max_norm=3.0)
)
recipe = dict(warm_up_updates=100, rate=1e-3, decay=0.05)  # engine/recipe.py; the scale says how long
