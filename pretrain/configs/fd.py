"""FD-CLIP: a fresh encoder with relative positions learns the features of CLIP, trained on noisy captions.

COMMAND   python tools/train.py pretrain/configs/fd.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/imagenet.py"]
method = "fd"
parent = "clip"  # the frozen teacher; any other with --checkpoint
model = dict(
    type="FD",
    encoder=dict(
        name="beit_base_patch16_224",
        kwargs=dict(
            use_abs_pos_emb=False, use_rel_pos_bias=False, use_shared_rel_pos_bias=True,
            init_values=0.1, global_pool="token",
        ),
    ),
)  # fmt: skip
train_dataloader = dict(dataset=dict(views=dict(image=dict(scale=(0.2, 1.0), flip=0.5))))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)))
at_scale = dict(
    tiny=dict(recipe=dict(updates=300)),
    study=dict(recipe=dict(updates=750)),
    paper=dict(  # SwinTransformer/Feature-Distillation, whose last rate, 5e-6, grows with the batch as well
        model=dict(
            encoder=dict(
                name="beit_base_patch16_224",
                kwargs=dict(
                    use_abs_pos_emb=False, use_rel_pos_bias=False, use_shared_rel_pos_bias=True,
                    init_values=0.1, global_pool="token", drop_path_rate=0.2,
                ),
            )
        ),
        train_dataloader=dict(dataset=dict(interpolation="bilinear", views=dict(image=dict(scale=(0.08, 1.0))))),
        recipe=dict(batch=2048, epochs=300, warm_up=10, rate=3e-4, rate_for=512, floor=2e-5, decay=0.05),
        optim_wrapper=dict(paramwise_cfg=dict(no_decay=["pos_embed", "cls_token"])),  # the bias table decays
    ),
)  # fmt: skip
