"""Pretraining on photographs by seconds of a GPU: 20 000 of Tiny ImageNet's images, each shown some fifty times.

    python tools/train.py pretrain/configs/mae.py --data docs/overlays/tiny_imagenet.py --amp
    python tools/train.py pretrain/configs/supervised.py --data docs/overlays/tiny_imagenet.py --amp

data/tiny_imagenet/train/<WordNet id>/*.JPEG are the images as a folder per class (recognition/sets/tiny_imagenet.py).
Every method sees 1 000 448 images, in batches of 512: a ViT 192 wide with six blocks and patches of 8. CLIP and its
kin read the same images with captions: tiny_imagenet_captions.py.
"""

data = dict(name="tiny_imagenet", kind="image_folder", root="data/tiny_imagenet/train")
model = dict(encoder=dict(kwargs=dict(embed_dim=192, depth=6)))
train_dataloader = dict(batch_size=512, num_workers=2, persistent_workers=True, pin_memory=True)
train_cfg = dict(max_iters=1954)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
recipe = dict(warm_up_updates=150)
