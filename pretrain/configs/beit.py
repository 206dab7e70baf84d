"""BEiT: visual tokens of masked patches, no captions.

COMMAND   python tools/train.py pretrain/configs/beit.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/visual_tokens.py"]
method = "beit"
model = dict(
    type="BEiT",
    encoder=dict(
        name="beit_base_patch16_224",
        kwargs=dict(
            use_abs_pos_emb=False, use_rel_pos_bias=False, use_shared_rel_pos_bias=True,
            use_fc_norm=False, init_values=0.1,
        ),
    ),
    mask_count=25,  # of 64 as 75 of 196
)  # fmt: skip
at_scale = dict(
    tiny=dict(recipe=dict(updates=250)),
    study=dict(recipe=dict(updates=625)),
    paper=dict(  # microsoft/unilm/beit, get_started_for_image_classification
        model=dict(
            encoder=dict(
                name="beit_base_patch16_224",
                kwargs=dict(
                    use_abs_pos_emb=False, use_rel_pos_bias=False, use_shared_rel_pos_bias=True,
                    use_fc_norm=False, init_values=0.1, drop_path_rate=0.1,
                ),
            ),
            mask_count=75,
        ),
        train_dataloader=dict(
            dataset=dict(colour=dict(jitter=(0.4, 0.4, 0.4, 0.0), jitter_p=1.0, grey_p=0.0, blur_p=0.0))
        ),
        recipe=dict(epochs=800, warm_up=10),
        optim_wrapper=dict(paramwise_cfg=dict(no_decay=["pos_embed", "cls_token"])),  # the bias table decays
    ),
)  # fmt: skip
