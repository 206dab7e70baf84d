"""RGB images with 16-bit depth maps of the same name, here NYUv2 exported as PNG in millimetres.

    python tools/train.py depth/configs/clip.py --data docs/overlays/depth.py

0 in a depth map means that nothing was measured there. 8-bit maps are refused: they are pictures of depth.
"""

data = dict(
    name="nyu",
    kind="depth",
    root="data/nyu",
    images="images/{split}",
    labels="depth/{split}",
    splits=dict(train="train", val="val", test="test"),
    depth_scale=1000.0,  # units of the files per metre
    max_depth=10.0,  # metres: the largest depth that is predicted, learned from and scored
    size=(240, 320),
)
# Everything else of a config can be stated here too. NYUv2's Eigen crop is for maps of 480 x 640 and no others.
val_evaluator = dict(eigen_crop=True)
test_evaluator = dict(eigen_crop=True)
