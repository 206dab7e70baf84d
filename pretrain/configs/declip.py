"""DeCLIP on noisy captions: two views and an edited caption contrasted, SimSiam, masked words, nearest neighbours.

COMMAND   python tools/train.py pretrain/configs/declip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/contrastive.py"]
method = "declip"
captions = "noisy"
model = dict(type="DeCLIP", projector=192, bottleneck=96, bank=2048)
view = dict(
    scale=(0.2, 1.0),
    flip=0.5,
    colour=dict(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey_p=0.2, blur_p=0.5),
)
texts = dict(tokens={}, tokens_edited=dict(eda=True))
train_dataloader = dict(dataset=dict(views=dict(_delete_=True, image_1=view, image_2=view), texts=texts))
paper = dict(  # Sense-GVT/DeCLIP's ViT on YFCC15M, with this scale's ViT-B/16 for its ViT-B/32; 32 processes of 128
    data=dict(_delete_=True, name="yfcc15m", kind="image_text", root="data/yfcc15m/shards", pattern="*.tar"),
    global_batch_size=32 * 128,
    train_cfg=dict(max_iters=128_000),
    model=dict(
        text=dict(embed_dim=512, vocabulary="clip", context=77, width=512, layers=12, heads=8, act="quick_gelu"),
        projector=1024,
        bottleneck=512,
        bank=65536,
    ),
    train_dataloader=dict(dataset=dict(context=77)),
    optim_wrapper=dict(optimizer=dict(lr=1e-3, weight_decay=0.1), clip_grad=None),
    param_scheduler=[
        dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=2500),
        dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=2500, end=None, T_max=None),
    ],
)
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=250)), study=dict(train_cfg=dict(max_iters=625)), paper=paper)
del view, texts, paper
