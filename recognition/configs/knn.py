"""k-nearest neighbours on frozen features: the colour of the largest solid of each held-out scene.

COMMAND   python tools/test.py recognition/configs/knn.py --checkpoint FOLDER
COST      docs/demo.md, where the features of the 8192 training images were stored before
EXPECTED  for any checkpoint; the random encoder's is the value to compare with. Encoders of scale "tiny", chance
          12.5 %: random 21.5, CLIP 50.0 %
"""

_base_ = ["./_base_/scene_classes.py"]
task = "knn"
head = "{neighbours}-NN"
primary = "top1"
neighbours = 20
at_scale = dict(
    paper=dict(
        data=dict(
            _delete_=True, name="imagenet", kind="image_folder", root="data/imagenet", train="data/imagenet/train",
            test="data/imagenet/val",
        ),
    ),
)  # fmt: skip
