"""What LightCLIP and the plain CLIP beside it share: augmented pictures and captions, and the published schedule.

Pictures are augmented as in MoCo v2 and SimCLR, captions by one edit. At the small scales pictures are not mirrored,
since the embedded data's captions may name sides. The paper's batch size and the text tower's width are not known;
they are here those of CLIP and its kin on YFCC15M.
"""

_base_ = ["./contrastive.py"]
captions = "noisy"
train_dataloader = dict(
    dataset=dict(
        views=dict(
            image=dict(scale=(0.2, 1.0), colour=dict(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey_p=0.2, blur_p=0.5))
        ),
        texts=dict(tokens=dict(eda=True)),
    )
)
at_scale = dict(
    paper=dict(
        data=dict(_delete_=True, name="yfcc15m", kind="image_text", root="data/yfcc15m/shards", pattern="*.tar"),
        encoder=dict(_delete_=True, name="resnet18", kwargs={}),
        model=dict(
            encoder=dict(_delete_=True, name="resnet18", kwargs={}),
            text=dict(embed_dim=512, vocabulary="clip", context=77, width=512, layers=8, heads=8, act="quick_gelu"),
        ),
        global_batch_size=4096,
        train_cfg=dict(max_iters=32 * 15_255_632 // 4096),
        train_dataloader=dict(dataset=dict(context=77, views=dict(image=dict(flip=0.5)))),
        optim_wrapper=dict(optimizer=dict(lr=5e-4, weight_decay=0.1), clip_grad=None),
        param_scheduler=[
            dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=5959),  # 5 % of the updates
            dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=5959, end="<last>", T_max="<last>"),
        ],
    )
)
