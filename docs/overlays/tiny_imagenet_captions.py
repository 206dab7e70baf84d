"""As tiny_imagenet.py beside it, with captions made from the names of the classes, and with noisy ones.

    python tools/caption_classes.py data/tiny_imagenet/train data/tiny_imagenet/shards \\
        --set recognition/sets/tiny_imagenet.py --wrong 0.3 --missing 0.2
    python tools/train.py pretrain/configs/clip.py --data docs/overlays/tiny_imagenet_captions.py --amp
    python tools/train.py pretrain/configs/clip.py --data docs/overlays/tiny_imagenet_captions.py --amp \\
        --cfg-options captions=noisy

Each image is shown with one of SLIP's seven prompts for its class, drawn anew each time. Of the noisy captions, 30 %
name another class and 20 % none.
"""

_base_ = ["./tiny_imagenet.py"]
data = dict(
    _delete_=True, name="tiny_imagenet", kind="image_text", root="data/tiny_imagenet/shards", pattern="train-*.tar"
)
captions = "class"
