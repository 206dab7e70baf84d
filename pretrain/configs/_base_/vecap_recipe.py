"""CLIP with enriched captions among its own; VeCap-12M at scale "paper" (apple/ml-veclip).

What VeCLIP leaves open is LaCLIP's, and CLIP's tokens stand for its T5 tokens.
"""

_base_ = ["./laclip_recipe.py"]
# The longest description has 233 tokens; 128 hold its list of objects in 96 % of the images. They cost two of CLIP's
# updates on noisy captions.
model = dict(type="CLIP", text=dict(context=128))
train_dataloader = dict(dataset=dict(context=128))
epoch = 12_000_000 // 8192  # updates
paper = dict(
    data=dict(_delete_=True, name="vecap12m", kind="image_text", root="data/vecap12m/shards", pattern="*.tar"),
    train_cfg=dict(max_iters=35 * epoch),
    param_scheduler=[
        dict(type="LinearLR", start_factor=1e-6 / 1e-3, by_epoch=False, begin=0, end=epoch),
        dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False, begin=epoch, end="<last>", T_max="<last>"),
    ],
)
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=200)), study=dict(train_cfg=dict(max_iters=500)), paper=paper)
del epoch, paper
