"""FD-CLIP: a fresh encoder with relative positions learns the features of CLIP, trained on noisy captions.

COMMAND   python tools/train.py pretrain/configs/fd.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/image_text.py"]
method = "fd"
parent = "clip"  # the frozen teacher; any other with --checkpoint
relative = dict(
    use_abs_pos_emb=False, use_rel_pos_bias=False, use_shared_rel_pos_bias=True, init_values=0.1, global_pool="token"
)
small = dict(img_size=64, patch_size=8, embed_dim=96, depth=4, num_heads=3, **relative)
model = dict(type="FD", encoder=dict(_delete_=True, name="beit_base_patch16_224", kwargs=small))
train_dataloader = dict(dataset=dict(views=dict(image=dict(scale=(0.2, 1.0), flip=0.5))))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)))
epoch = 1_281_167 / 2048  # updates
large = dict(**relative, drop_path_rate=0.2)
paper = dict(  # SwinTransformer/Feature-Distillation: 300 epochs, 10 of them warm-up, 3e-4 for 512 images
    data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train"),
    model=dict(encoder=dict(_delete_=True, name="beit_base_patch16_224", kwargs=large)),
    global_batch_size=2048,
    train_cfg=dict(max_iters=int(300 * epoch)),
    train_dataloader=dict(dataset=dict(views=dict(image=dict(scale=(0.08, 1.0))))),
    optim_wrapper=dict(optimizer=dict(lr=3e-4 * 2048 / 512)),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=int(10 * epoch)),
        dict(
            type="CosineAnnealingLR",
            eta_min=5e-6 * 4,
            by_epoch=False,
            begin=int(10 * epoch),
            end="<last>",
            T_max="<last>",
        ),
    ],
)
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=300)), study=dict(train_cfg=dict(max_iters=750)), paper=paper)
del relative, small, large, epoch, paper
