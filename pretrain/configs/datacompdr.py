"""DataCompDR: CLIP on both the noisy and the enriched caption of each image; with tools/reinforce.py, also a teacher.

COMMAND   python tools/train.py pretrain/configs/datacompdr.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
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
train_dataloader = dict(
    dataset=dict(context=128, texts=dict(tokens=dict(captions="noisy"), tokens_synthetic=dict(captions="enriched")))
)
at_scale = dict(
    tiny=dict(recipe=dict(updates=180)),
    study=dict(recipe=dict(updates=450)),
    paper=dict(  # apple/ml-mobileclip, ViT-B/16 on DataCompDR-1B, without teacher and without RandAugment
        data=dict(name="datacomp", root="data/datacomp/shards"),
        captions="txt+synthetic",
        model=dict(
            text=dict(
                _delete_=True, embed_dim=512, vocabulary="clip", context=77, width=512, layers=12, heads=8, eps=1e-5
            )
        ),
        train_dataloader=dict(
            dataset=dict(
                texts=dict(tokens=dict(captions="txt"), tokens_synthetic=dict(captions="synthetic")),
                views=dict(image=dict(scale=(0.08, 1.0), interpolation="bicubic")),
            )
        ),
        recipe=dict(
            _delete_=True, batch=65_536, updates=200_000, warm_up_updates=1000, rate=1e-3, floor=0.0, decay=0.2
        ),
        optim_wrapper=dict(
            optimizer=dict(betas=(0.9, 0.95)), clip_grad=dict(max_norm=1.0), paramwise_cfg=dict(no_decay=[])
        ),
    ),
)
