"""Clothing Co-Parsing (Yang, Luo, Lin, CVPR 2014; bearpaw/clothing-co-parsing): street photographs with 59 classes.

    python tools/compare.py --data docs/overlays/ccp_clothing.py --encoders mae

The images come with their publisher's release, not with DenseBench. Arrange them as images/{train,val}/*.jpg and
annotations/{train,val}/*.png below `root`, a label of the same stem for every image; or link a folder that is arranged
like that: `ln -s PATH/TO/CCP data/ccp_clothing`.
"""

data = dict(
    name="ccp_clothing",
    kind="seg",
    root="data/ccp_clothing",  # relative to where the command runs
    splits=dict(train="train", val="val", test="val"),  # there is no third split
    classes=(
        "null", "accessories", "bag", "belt", "blazer", "blouse", "bodysuit", "boots", "bra", "bracelet",
        "cape", "cardigan", "clogs", "coat", "dress", "earrings", "flats", "glasses", "gloves", "hair", "hat",
        "heels", "hoodie", "intimate", "jacket", "jeans", "jumper", "leggings", "loafers", "necklace",
        "panties", "pants", "pumps", "purse", "ring", "romper", "sandals", "scarf", "shirt", "shoes",
        "shorts", "skin", "skirt", "sneakers", "socks", "stockings", "suit", "sunglasses", "sweater",
        "sweatshirt", "swimwear", "t-shirt", "tie", "tights", "top", "vest", "wallet", "watch", "wedges",
    ),
    size=(144, 96),  # height, width of training crops and test images, the release scaled to a short side of 96
)  # fmt: skip
