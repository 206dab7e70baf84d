"""SLIP on noisy captions: CLIP, and SimCLR between two further views of each image.

COMMAND   python tools/train.py pretrain/configs/slip.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/clip_recipe.py"]
method = "slip"
captions = "noisy"
model = dict(type="SLIP", projector=(384, 64))
train_dataloader = dict(
    dataset=dict(
        views={
            view: dict(
                scale=(0.08, 1.0),
                flip=0.5,
                colour=dict(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey_p=0.2, blur_p=0.5),
            )
            for view in ("image_1", "image_2")
        }
    )
)
recipe = dict(warm_up_updates=20, floor=1e-5)
at_scale = dict(
    tiny=dict(recipe=dict(updates=130)),  # each costs about two and a half of CLIP's
    study=dict(recipe=dict(updates=325)),
    paper=dict(  # facebookresearch/SLIP: CLIP's recipe with another rate and decay
        model=dict(projector=(4096, 256)), recipe=dict(rate=3e-3, decay=0.1)
    ),
)
