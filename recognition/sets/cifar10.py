"""CIFAR-10's 10 000 test images: top-1 with CLIP's 18 templates; and its 50 000 training images, for k-NN and probes.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/cifar10.py
    python tools/test.py recognition/configs/knn.py --checkpoint FOLDER --data recognition/sets/cifar10.py

A folder per class below train and test: data/cifar10/test/airplane/*.png. The publisher's archives hold pickles, which
DenseBench does not open; take a release as images. Names and templates: openai/CLIP, data/prompts.md.
"""

photos = ("photo", "blurry photo", "black and white photo", "low contrast photo", "high contrast photo", "bad photo",
          "good photo")  # fmt: skip
templates = [
    *(f"a {photo} of {article} {{}}." for article in ("a", "the") for photo in photos),
    *(f"a photo of {article} {size} {{}}." for article in ("a", "the") for size in ("small", "big")),
]
data = dict(
    name="cifar10", kind="image_folder", root="data/cifar10/test", train="data/cifar10/train", test="data/cifar10/test"
)
questions = dict(
    object=dict(
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        templates=templates,
    )
)
primary = "top1"
del photos, templates
