"""Oxford-IIIT Pets' 3 669 test images: mean per class with CLIP's one template.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/pets.py

The publisher's archives as they are: data/pets/images/Abyssinian_201.jpg, data/pets/annotations/test.txt. Names and
template: openai/CLIP, data/prompts.md; the names are those of the files.
"""

data = dict(
    name="pets", kind="image_list", root="data/pets", list="annotations/test.txt", images="images/{}.jpg",
    label=r"(.+)_\d+",
)  # fmt: skip
questions = dict(
    breed=dict(
        classes=(
            "Abyssinian", "Bengal", "Birman", "Bombay", "British Shorthair", "Egyptian Mau", "Maine Coon", "Persian",
            "Ragdoll", "Russian Blue", "Siamese", "Sphynx", "american bulldog", "american pit bull terrier",
            "basset hound", "beagle", "boxer", "chihuahua", "english cocker spaniel", "english setter",
            "german shorthaired", "great pyrenees", "havanese", "japanese chin", "keeshond", "leonberger",
            "miniature pinscher", "newfoundland", "pomeranian", "pug", "saint bernard", "samoyed", "scottish terrier",
            "shiba inu", "staffordshire bull terrier", "wheaten terrier", "yorkshire terrier",
        ),
        templates=("a photo of a {}, a type of pet.",),
    ),
)  # fmt: skip
primary = "mean_per_class"
