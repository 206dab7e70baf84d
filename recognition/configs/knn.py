"""k-nearest neighbours on frozen features: the shape of the largest solid of each held-out scene.

COMMAND   python tools/test.py recognition/configs/knn.py --checkpoint FOLDER
COST      half a minute of one core, most of it for the features of 8192 training images
EXPECTED  for any checkpoint; the random encoder's is the value to compare with
"""

task = "knn"
neighbours = 20
data = dict(
    name="scenes", kind="image_folder", root="data/scenes", train="data/scenes/imagefolder/pretrain",
    test="data/scenes/imagefolder/test",
)  # fmt: skip
