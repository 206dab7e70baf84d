"""DataCompDR: CLIP on both the noisy and the enriched caption of each image; with tools/reinforce.py, also a teacher.

COMMAND   python tools/train.py pretrain/configs/datacompdr.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/contrastive.py"]
method = "datacompdr"
captions = "noisy+enriched"  # both in each step
model = dict(
    type="DataCompDR",
    text=dict(context=128),  # see _base_/vecap_recipe.py
    clip_weight=1.0,
    distill_weight=0.0,
    teacher_widths=None,
)
texts = dict(tokens=dict(captions="noisy"), tokens_synthetic=dict(captions="enriched"))
train_dataloader = dict(dataset=dict(context=128, texts=texts))
paper = dict(  # apple/ml-mobileclip, ViT-B/16 on DataCompDR-1B, without teacher and without RandAugment
    data=dict(_delete_=True, name="datacomp", kind="image_text", root="data/datacomp/shards", pattern="*.tar"),
    captions="txt+synthetic",
    global_batch_size=65_536,
    train_cfg=dict(max_iters=200_000),
    model=dict(text=dict(embed_dim=512, vocabulary="clip", context=77, width=512, layers=12, heads=8)),
    train_dataloader=dict(
        dataset=dict(
            context=77,
            texts=dict(tokens=dict(captions="txt"), tokens_synthetic=dict(captions="synthetic")),
            views=dict(image=dict(scale=(0.08, 1.0))),
        )
    ),
    optim_wrapper=dict(optimizer=dict(lr=1e-3, betas=(0.9, 0.95), weight_decay=0.2), clip_grad=dict(max_norm=1.0)),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=1000),
        dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=1000, end="<last>", T_max="<last>"),
    ],
)
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=180)), study=dict(train_cfg=dict(max_iters=450)), paper=paper)
del texts, paper
