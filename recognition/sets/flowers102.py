"""Oxford Flowers-102's 6 149 test images: mean per class with CLIP's one template.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/flowers102.py

A folder per class, called by its number from 1 to 102 as in the publisher's imagelabels.mat, or by its name:
data/flowers102/test/1/image_06734.jpg. Names and template: openai/CLIP, data/prompts.md, in the order of the numbers.
"""

names = (
    "pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea", "english marigold", "tiger lily",
    "moon orchid", "bird of paradise", "monkshood", "globe thistle", "snapdragon", "colt's foot", "king protea",
    "spear thistle", "yellow iris", "globe flower", "purple coneflower", "peruvian lily", "balloon flower",
    "giant white arum lily", "fire lily", "pincushion flower", "fritillary", "red ginger", "grape hyacinth",
    "corn poppy", "prince of wales feathers", "stemless gentian", "artichoke", "sweet william", "carnation",
    "garden phlox", "love in the mist", "mexican aster", "alpine sea holly", "ruby-lipped cattleya", "cape flower",
    "great masterwort", "siam tulip", "lenten rose", "barbeton daisy", "daffodil", "sword lily", "poinsettia",
    "bolero deep blue", "wallflower", "marigold", "buttercup", "oxeye daisy", "common dandelion", "petunia",
    "wild pansy", "primula", "sunflower", "pelargonium", "bishop of llandaff", "gaura", "geranium", "orange dahlia",
    "pink and yellow dahlia", "cautleya spicata", "japanese anemone", "black-eyed susan", "silverbush",
    "californian poppy", "osteospermum", "spring crocus", "bearded iris", "windflower", "tree poppy", "gazania",
    "azalea", "water lily", "rose", "thorn apple", "morning glory", "passion flower", "lotus", "toad lily", "anthurium",
    "frangipani", "clematis", "hibiscus", "columbine", "desert-rose", "tree mallow", "magnolia", "cyclamen",
    "watercress", "canna lily", "hippeastrum", "bee balm", "air plant", "foxglove", "bougainvillea", "camellia",
    "mallow", "mexican petunia", "bromelia", "blanket flower", "trumpet creeper", "blackberry lily",
)  # fmt: skip
data = dict(
    name="flowers102", kind="image_folder", root="data/flowers102/test", train="data/flowers102/train",
    test="data/flowers102/test",
)  # fmt: skip
questions = dict(
    flower=dict(
        classes=names,
        aliases={str(number): name for number, name in enumerate(names, start=1)},
        templates=("a photo of a {}, a type of flower.",),
    )
)
primary = "mean_per_class"
del names
