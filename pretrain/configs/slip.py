"""SLIP on noisy captions: CLIP, and SimCLR between two further views of each image.

COMMAND   python tools/train.py pretrain/configs/slip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/clip_recipe.py"]
method = "slip"
captions = "noisy"
model = dict(type="SLIP", projector=(384, 64))
colour = dict(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey_p=0.2, blur_p=0.5)
view = dict(scale=(0.08, 1.0), flip=0.5, colour=colour)
train_dataloader = dict(dataset=dict(views=dict(image_1=view, image_2=view)))
warm_up = dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=20)
cosine = dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False, begin=20, end="<last>", T_max="<last>")
param_scheduler = [warm_up, cosine]
epoch = 15_255_632 // 4096  # updates
paper = dict(  # facebookresearch/SLIP: CLIP's recipe with another rate and decay
    model=dict(projector=(4096, 256)),
    optim_wrapper=dict(optimizer=dict(lr=3e-3, weight_decay=0.1)),
    param_scheduler=[{**warm_up, "start_factor": 1e-6 / 3e-3, "end": epoch}, {**cosine, "begin": epoch}],
)
at_scale = dict(
    tiny=dict(train_cfg=dict(max_iters=130)),  # each costs about two and a half of CLIP's
    study=dict(train_cfg=dict(max_iters=325)),
    paper=paper,
)
del colour, view, warm_up, cosine, epoch, paper
