"""CIFAR-100's 10 000 test images by their 100 fine labels: top-1 with CLIP's 18 templates.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/cifar100.py

A folder per class below train and test: data/cifar100/test/aquarium_fish/*.png. The publisher's archives hold pickles,
which DenseBench does not open; take a release as images. Names and templates: openai/CLIP, data/prompts.md.
"""

_base_ = ["./cifar10.py"]
data = dict(name="cifar100", root="data/cifar100/test", train="data/cifar100/train", test="data/cifar100/test")
questions = dict(
    object=dict(
        classes=(
            "apple", "aquarium fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
            "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
            "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
            "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
            "lawn mower", "leopard", "lion", "lizard", "lobster", "man", "maple tree", "motorcycle", "mountain",
            "mouse", "mushroom", "oak tree", "orange", "orchid", "otter", "palm tree", "pear", "pickup truck",
            "pine tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
            "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel",
            "streetcar", "sunflower", "sweet pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
            "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow tree", "wolf", "woman", "worm",
        ),
    ),
)  # fmt: skip
