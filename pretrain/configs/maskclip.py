"""MaskCLIP on noisy captions: CLIP, masked self-distillation and masked language modelling.

COMMAND   python tools/train.py pretrain/configs/maskclip.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/clip_recipe.py"]
method = "maskclip"
captions = "noisy"
model = dict(
    type="MaskCLIP",
    momentum=(0.99, 0.999),  # the teacher's memory follows the length of training
    decoder_heads=3,
    decoder_norm_eps=1e-5,
    quantizer=dict(hidden=192, bottleneck=64, codes=512),
    mlm=dict(depth=2),
)
at_scale = dict(
    tiny=dict(recipe=dict(updates=250)),  # each costs about two of CLIP's
    paper=dict(
        model=dict(
            momentum=(0.999, 0.9999),
            decoder_heads=12,
            decoder_norm_eps=1e-6,
            quantizer=dict(hidden=2048, bottleneck=256, codes=8192),
            mlm=dict(depth=4),
        )
    ),
)
