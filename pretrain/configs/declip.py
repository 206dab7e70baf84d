"""DeCLIP on noisy captions: two views and an edited caption contrasted, SimSiam, masked words, nearest neighbours.

COMMAND   python tools/train.py pretrain/configs/declip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/clip_recipe.py"]
method = "declip"
captions = "noisy"
model = dict(type="DeCLIP", projector=192, bottleneck=96, bank=2048)
colour = dict(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey_p=0.2, blur_p=0.5)
view = dict(scale=(0.2, 1.0), flip=0.5, colour=colour)
texts = dict(tokens={}, tokens_edited=dict(eda=True))
train_dataloader = dict(dataset=dict(views=dict(_delete_=True, image_1=view, image_2=view), texts=texts))
warm_up = dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=20)
cosine = dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=20, end="<last>", T_max="<last>")
param_scheduler = [warm_up, cosine]
paper = dict(  # Sense-GVT/DeCLIP on YFCC15M, with ViT-B/16 for its ViT-B/32 and 4096 as 32 of its 128 images a process
    train_cfg=dict(max_iters=128_000),
    model=dict(projector=1024, bottleneck=512, bank=65536),
    optim_wrapper=dict(optimizer=dict(lr=1e-3, weight_decay=0.1)),
    param_scheduler=[{**warm_up, "start_factor": 0.1, "end": 2500}, {**cosine, "begin": 2500}],
)
at_scale = dict(
    tiny=dict(train_cfg=dict(max_iters=140)),  # each costs about two of CLIP's
    study=dict(train_cfg=dict(max_iters=350)),
    paper=paper,
)
del colour, view, texts, warm_up, cosine, paper
