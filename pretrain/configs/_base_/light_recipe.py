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
        model=dict(encoder=dict(_delete_=True, name="resnet18", kwargs={}), text=dict(layers=8)),
        train_dataloader=dict(dataset=dict(views=dict(image=dict(flip=0.5)))),
        # the rise takes 5 % of the updates
        recipe=dict(batch=4096, epochs=32, warm_up=1.6, rate=5e-4, start=0.0, floor=0.0, decay=0.1),
        optim_wrapper=dict(clip_grad=None),
    )
)
