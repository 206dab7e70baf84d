"""CLIP and its kin from scratch on CIFAR-10's 50 000 training images, with captions made from the names of the classes.

    python tools/caption_classes.py data/cifar10/train data/cifar10/shards --set recognition/sets/cifar10.py
    python tools/train.py pretrain/configs/clip.py --data docs/overlays/cifar10.py
    python tools/train.py pretrain/configs/maskclip.py --data docs/overlays/cifar10.py
    python tools/test.py recognition/configs/zero_shot.py --data recognition/sets/cifar10.py \\
        --checkpoint runs/tiny-cifar10/pretrain/clip/seed0/checkpoint        (and knn.py, linear_probe.py)
    python tools/train.py pretrain/configs/random.py --data docs/overlays/cifar10.py \\
        --cfg-options train_cfg.max_iters=0 --work-dir runs/tiny-cifar10/pretrain/random/seed0        (random weights)

data/cifar10/{train,test}/CLASS/*.jpg are the images as a folder per class. Each image is shown with one of CLIP's 18
prompts for its class, drawn anew each time: 256 000 images, five times the set, in batches of 64. The encoder is the
embedded scenes' ViT with patches of 4 in place of 8, so that 32 pixels make the same 64 tokens.
"""

data = dict(name="cifar10", kind="image_text", root="data/cifar10/shards", pattern="train-*.tar")
captions = "class"
model = dict(encoder=dict(kwargs=dict(img_size=32, patch_size=4)))
train_dataloader = dict(dataset=dict(size=32, views=dict(image=dict(flip=0.5))))
train_cfg = dict(max_iters=4000)
