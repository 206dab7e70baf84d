"""BEiT: visual tokens of masked patches, no captions.

COMMAND   python tools/train.py pretrain/configs/beit.py
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md, "Main table"
"""

_base_ = ["./_base_/image_text.py"]
method = "beit"
relative = dict(use_abs_pos_emb=False, use_rel_pos_bias=False, use_shared_rel_pos_bias=True, use_fc_norm=False)
tiny = dict(img_size=64, patch_size=8, embed_dim=96, depth=4, num_heads=3, init_values=0.1)
encoder = dict(_delete_=True, name="beit_base_patch16_224", kwargs=dict(**relative, **tiny))
base = dict(_delete_=True, name="beit_base_patch16_224", kwargs=dict(**relative, init_values=0.1, drop_path_rate=0.1))
model = dict(type="BEiT", encoder=encoder, mask_count=25, tokenizer=dict(type="dvae"))  # 25 of 64 as 75 of 196
views = dict(
    image=dict(scale=(0.2, 1.0), flip=0.5), pixels=dict(of="image", size=64, interpolation="lanczos")
)  # 8 x 8 tokens
train_dataloader = dict(dataset=dict(views=views))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)))
warm_up = dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=25)
cosine = dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False, begin=25, end="<last>", T_max="<last>")
param_scheduler = [warm_up, cosine]
epoch = 1_281_167 // 2048  # updates
paper = dict(  # microsoft/unilm/beit, get_started_for_image_classification: 800 epochs, 10 of them warm-up
    encoder=base,
    data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train"),
    model=dict(
        encoder=base, mask_count=75, tokenizer=dict(_delete_=True, type="dalle", file="data/dalle/encoder.pkl"),
        data_preprocessor=dict(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    ),
    global_batch_size=2048,
    train_cfg=dict(max_iters=800 * epoch),
    train_dataloader=dict(
        dataset=dict(views=dict(image=dict(scale=(0.08, 1.0), interpolation="bicubic"), pixels=dict(size=112)))
    ),
    optim_wrapper=dict(optimizer=dict(lr=1.5e-3)),
    param_scheduler=[{**warm_up, "end": 10 * epoch}, {**cosine, "begin": 10 * epoch}],
)  # fmt: skip
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=250)), study=dict(train_cfg=dict(max_iters=625)), paper=paper)
del relative, tiny, base, views, warm_up, cosine, epoch, paper
