"""SUN397's 19 850 test images of its first partition: top-1 with CLIP's two templates.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/sun397.py

The publisher's archive as it is, with the lists of its partitions beside it: data/sun397/SUN397/a/abbey/*.jpg and
data/sun397/Testing_01.txt, whose lines read /a/apartment_building/outdoor/sun_x.jpg. Templates: openai/CLIP,
data/prompts.md, whose names of the 397 classes are those of the folders, such as "apartment building outdoor".
"""

data = dict(
    name="sun397", kind="image_list", root="data/sun397", list="Testing_01.txt", images="SUN397{}",
    label=r"/./(.+)/[^/]+",
)  # fmt: skip
questions = dict(place=dict(count=397, templates=("a photo of a {}.", "a photo of the {}.")))
primary = "top1"
