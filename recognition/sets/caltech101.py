"""Caltech-101's test images, the background among its 102 classes: mean per class with CLIP's 34 templates.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/caltech101.py

A folder per class, called as in the publisher's archive: data/caltech101/test/Faces_easy/*.jpg. The publisher has no
split: papers draw 30 images of each class for training and test on the others. Names and templates: openai/CLIP,
data/prompts.md.
"""

of = ("a photo of", "a painting of", "a sculpture of", "a sketch of", "a tattoo of", "a rendition of", "art of",
      "graffiti of", "a drawing of", "a doodle of")  # fmt: skip
made = ("plastic", "toy", "embroidered", "cartoon", "plushie", "origami")
templates = [
    *(f"{what} {article} {{}}." for article in ("a", "the") for what in of),
    *(f"{article} {what} {{}}." for article in ("a", "the") for what in made),
    *(f"{article} {{}} in a video game." for article in ("a", "the")),
]
data = dict(
    name="caltech101", kind="image_folder", root="data/caltech101/test", train="data/caltech101/train",
    test="data/caltech101/test",
)  # fmt: skip
questions = dict(
    object=dict(
        classes=(
            "background", "off-center face", "centered face", "leopard", "motorbike", "accordion", "airplane", "anchor",
            "ant", "barrel", "bass", "beaver", "binocular", "bonsai", "brain", "brontosaurus", "buddha", "butterfly",
            "camera", "cannon", "side of a car", "ceiling fan", "cellphone", "chair", "chandelier",
            "body of a cougar cat", "face of a cougar cat", "crab", "crayfish", "crocodile", "head of a crocodile",
            "cup", "dalmatian", "dollar bill", "dolphin", "dragonfly", "electric guitar", "elephant", "emu",
            "euphonium", "ewer", "ferry", "flamingo", "head of a flamingo", "garfield", "gerenuk", "gramophone",
            "grand piano", "hawksbill", "headphone", "hedgehog", "helicopter", "ibis", "inline skate", "joshua tree",
            "kangaroo", "ketch", "lamp", "laptop", "llama", "lobster", "lotus", "mandolin", "mayfly", "menorah",
            "metronome", "minaret", "nautilus", "octopus", "okapi", "pagoda", "panda", "pigeon", "pizza", "platypus",
            "pyramid", "revolver", "rhino", "rooster", "saxophone", "schooner", "scissors", "scorpion", "sea horse",
            "snoopy (cartoon beagle)", "soccer ball", "stapler", "starfish", "stegosaurus", "stop sign", "strawberry",
            "sunflower", "tick", "trilobite", "umbrella", "watch", "water lilly", "wheelchair", "wild cat",
            "windsor chair", "wrench", "yin and yang symbol",
        ),
        aliases=dict(
            BACKGROUND_Google="background", Faces="off-center face", Faces_easy="centered face", Leopards="leopard",
            Motorbikes="motorbike", airplanes="airplane", car_side="side of a car", cougar_body="body of a cougar cat",
            cougar_face="face of a cougar cat", crocodile_head="head of a crocodile",
            flamingo_head="head of a flamingo", snoopy="snoopy (cartoon beagle)", yin_yang="yin and yang symbol",
        ),
        templates=templates,
    ),
)  # fmt: skip
primary = "mean_per_class"
del of, made, templates
