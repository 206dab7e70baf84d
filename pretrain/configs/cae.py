"""CAE: representations of masked patches, regressed from the visible ones, and their visual tokens; no captions.

COMMAND   python tools/train.py pretrain/configs/cae.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/image_text.py"]
method = "cae"
model = dict(
    type="CAE", encoder=dict(kwargs=dict(init_values=0.1)), tokenizer=dict(type="dvae"),
    num_masked=26,  # of 64 patches, a share between 75 and 98 of 196
    width=96, heads=3, regressor_depth=2, decoder_depth=2,
)  # fmt: skip
views = dict(
    image=dict(scale=(0.2, 1.0), flip=0.5), pixels=dict(of="image", size=64, interpolation="lanczos")
)  # 8 x 8 tokens; BEiT's views, whose tokenizer this shares
train_dataloader = dict(dataset=dict(views=views))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)))
warm_up = dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=25)
cosine = dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False, begin=25, end="<last>", T_max="<last>")
param_scheduler = [warm_up, cosine]
epoch = 1_281_167 // 2048  # updates
paper = dict(  # Atten4Vis/CAE: 1600 epochs, 40 of them warm-up; masks of the first version, 98 in the later ones
    data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train"),
    model=dict(
        encoder=dict(kwargs=dict(init_values=0.1, drop_path_rate=0.1)),
        tokenizer=dict(_delete_=True, type="dalle", file="data/dalle/encoder.pkl"),
        num_masked=75, width=768, heads=12, regressor_depth=4, decoder_depth=4, drop_path=0.1,
    ),
    global_batch_size=2048,
    train_cfg=dict(max_iters=1600 * epoch),
    train_dataloader=dict(
        dataset=dict(views=dict(image=dict(scale=(0.08, 1.0), interpolation="bicubic"), pixels=dict(size=112)))
    ),
    optim_wrapper=dict(optimizer=dict(lr=1.5e-3)),
    param_scheduler=[{**warm_up, "end": 40 * epoch}, {**cosine, "begin": 40 * epoch}],
)  # fmt: skip
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=200)), study=dict(train_cfg=dict(max_iters=500)), paper=paper)
del views, warm_up, cosine, epoch, paper
