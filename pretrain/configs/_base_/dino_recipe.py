"""Scale "paper" of DINO: the released ViT-B/16, 400 epochs of ImageNet-1K (facebookresearch/dino)."""

_base_ = ["./image_text.py"]
epoch, wide = 1_281_167 / 1024, dict(scale=(0.25, 1.0))
small = dict(size=96, count=10, scale=(0.05, 0.25))
paper = dict(
    data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train"),
    model=dict(
        encoder=dict(kwargs=dict(drop_path_rate=0.1)), head=dict(hidden=2048, bottleneck=256, codes=65536),
        teacher_temperature=(0.04, 0.07), teacher_warmup=50 / 400, freeze_last=3 / 400,
    ),
    global_batch_size=1024,
    train_cfg=dict(max_iters=int(400 * epoch)),
    train_dataloader=dict(dataset=dict(views=dict(image_1=wide, image_2=wide, image_local=small))),
    optim_wrapper=dict(optimizer=dict(lr=7.5e-4 * 1024 / 256)),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=int(10 * epoch)),
        dict(type="CosineAnnealingLR", eta_min=2e-6, by_epoch=False, begin=int(10 * epoch), end="<last>",
             T_max="<last>"),
        dict(
            type="CosineAnnealingParamScheduler", param_name="weight_decay", eta_min_ratio=10, by_epoch=False,
            end="<last>"
        ),
    ],
)  # fmt: skip
at_scale = dict(paper=paper)
del epoch, wide, small, paper
