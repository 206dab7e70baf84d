"""Food-101's 25 250 test images: top-1 with CLIP's one template.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/food101.py

The publisher's archive as it is: data/food101/images/apple_pie/*.jpg, data/food101/meta/test.txt. Template:
openai/CLIP, data/prompts.md, whose names of the 101 classes are those of the folders with spaces.
"""

data = dict(name="food101", kind="image_list", root="data/food101", list="meta/test.txt", images="images/{}.jpg")
questions = dict(dish=dict(count=101, templates=("a photo of {}, a type of food.",)))
primary = "top1"
