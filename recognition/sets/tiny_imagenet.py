"""Tiny ImageNet's validation images, 64 x 64 pixels of 200 of ImageNet-1K's classes: top-1 with SLIP's seven templates.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/tiny_imagenet.py
    python tools/test.py recognition/configs/knn.py --checkpoint FOLDER --data recognition/sets/tiny_imagenet.py

A folder per class below train and val, called by its WordNet id: data/tiny_imagenet/val/n01443537/*.JPEG. Stanford's
release has train/<id>/images and one folder of val; move the images so. Names: open_clip's zero_shot_metadata.py.
"""

data = dict(
    name="tiny_imagenet", kind="image_folder", root="data/tiny_imagenet/val", train="data/tiny_imagenet/train",
    test="data/tiny_imagenet/val",
)  # fmt: skip
questions = dict(object=dict(classes="imagenet", count=200, templates="imagenet7"))
primary = "top1"
