"""CAE: representations of masked patches, regressed from the visible ones, and their visual tokens; no captions.

COMMAND   python tools/train.py pretrain/configs/cae.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/visual_tokens.py"]
method = "cae"
model = dict(
    type="CAE",
    encoder=dict(kwargs=dict(init_values=0.1)),
    num_masked=26,  # of 64 patches, a share between 75 and 98 of 196
    width=96,
    heads=3,
    regressor_depth=2,
    decoder_depth=2,
)
at_scale = dict(
    tiny=dict(recipe=dict(updates=200)),
    study=dict(recipe=dict(updates=500)),
    paper=dict(  # Atten4Vis/CAE; masks of the first version, 98 in the later ones
        model=dict(
            encoder=dict(kwargs=dict(init_values=0.1, drop_path_rate=0.1)),
            num_masked=75,
            width=768,
            heads=12,
            regressor_depth=4,
            decoder_depth=4,
            drop_path=0.1,
        ),
        recipe=dict(epochs=1600, warm_up=40),
    ),
)
