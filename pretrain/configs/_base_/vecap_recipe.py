"""CLIP with enriched captions among its own; VeCap-12M at scale "paper" (apple/ml-veclip).

What VeCLIP leaves open is LaCLIP's, and CLIP's tokens stand for its T5 tokens.
"""

_base_ = ["./laclip_recipe.py"]
# The longest description has 233 tokens; 128 hold its list of objects in 96 % of the images. They cost two of CLIP's
# updates on noisy captions.
model = dict(type="CLIP", text=dict(context=128))
train_dataloader = dict(dataset=dict(context=128))
at_scale = dict(
    tiny=dict(recipe=dict(updates=200)),
    study=dict(recipe=dict(updates=500)),
    paper=dict(data=dict(name="vecap12m", root="data/vecap12m/shards"), recipe=dict(images=12_000_000)),
)
