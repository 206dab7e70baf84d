"""Scale "paper": ViT-B/16 at 224 pixels on the published data; each config adds its whole recipe for this scale.

CLIP and its kin take image-text shards (`yfcc15m.py`), image-only methods ImageNet-1K (`imagenet.py`).
"""

model = dict(encoder=dict(_delete_=True, name="vit_base_patch16_224", kwargs={}))
train_dataloader = dict(num_workers=8, persistent_workers=True, pin_memory=True, dataset=dict(size=224))
recipe = dict(_delete_=True)
state_interval = 1000
