"""DeCLIP on noisy captions: two views and an edited caption contrasted, SimSiam, masked words, nearest neighbours.

COMMAND   python tools/train.py pretrain/configs/declip.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/clip_recipe.py"]
method = "declip"
captions = "noisy"
model = dict(type="DeCLIP", projector=192, bottleneck=96, bank=2048)
train_dataloader = dict(
    dataset=dict(
        views={
            "_delete_": True,
            **{
                view: dict(
                    scale=(0.2, 1.0),
                    flip=0.5,
                    colour=dict(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey_p=0.2, blur_p=0.5),
                )
                for view in ("image_1", "image_2")
            },
        },
        texts=dict(tokens={}, tokens_edited=dict(eda=True)),
    )
)
recipe = dict(warm_up_updates=20, floor=0.0)
at_scale = dict(
    tiny=dict(recipe=dict(updates=140)),  # each costs about two of CLIP's
    study=dict(recipe=dict(updates=350)),
    paper=dict(  # Sense-GVT/DeCLIP on YFCC15M, ViT-B/16 for its ViT-B/32 and 4096 as 32 of its 128 images a process
        model=dict(projector=1024, bottleneck=512, bank=65536),
        recipe=dict(
            _delete_=True, batch=4096, updates=128_000, warm_up_updates=2500,
            rate=1e-3, start=1e-4, floor=0.0, decay=0.1,
        ),
    ),
)  # fmt: skip
