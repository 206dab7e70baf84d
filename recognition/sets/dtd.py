"""Describable Textures' 1 880 test images of its first split: top-1 with CLIP's eight templates.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/dtd.py

The publisher's archive as it is: data/dtd/images/banded/*.jpg, data/dtd/labels/test1.txt. Templates: openai/CLIP,
data/prompts.md, whose names of the 47 classes are those of the folders.
"""

data = dict(name="dtd", kind="image_list", root="data/dtd", list="labels/test1.txt", images="images/{}")
questions = dict(
    texture=dict(
        count=47,
        templates=[f"a photo of {article} {{}} {what}." for article in ("a", "the")
                   for what in ("texture", "pattern", "thing", "object")],
    ),
)  # fmt: skip
primary = "top1"
