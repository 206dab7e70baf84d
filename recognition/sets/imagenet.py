"""ImageNet-1K's 50 000 validation images, for zero-shot classification: top-1 with CLIP's 80 templates.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/imagenet.py

A folder per class, called by its WordNet id (n01440764, ...), as for training. Names and templates: open_clip's
zero_shot_metadata.py. For SLIP's seven templates, which have a protocol of their own:
--cfg-options questions.object.templates=imagenet7.
"""

data = dict(
    name="imagenet", kind="image_folder", root="data/imagenet/val", train="data/imagenet/train",
    test="data/imagenet/val",
)  # fmt: skip
questions = dict(object=dict(classes="imagenet", templates="imagenet80"))
primary = "top1"
