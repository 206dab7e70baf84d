"""Scale "paper": ViT-B/16 at 224 pixels on the published data; each config adds its own recipe for this scale.

CLIP and its kin take image-text shards (YFCC15M in the img2dataset layout below data/yfcc15m/shards), image-only
methods take ImageNet-1K as a folder per class below data/imagenet/train.
"""

encoder = dict(_delete_=True, name="vit_base_patch16_224", kwargs={})
model = dict(encoder=encoder)
train_dataloader = dict(num_workers=8, persistent_workers=True, pin_memory=True, dataset=dict(size=224))
state_interval = 1000
