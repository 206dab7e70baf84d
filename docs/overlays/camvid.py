"""CamVid: 701 road scenes of 480 x 360 with 11 classes, as released with the SegNet tutorial by its publisher.

    python tools/train.py seg_configs/upernet_maskclip.py --data docs/overlays/camvid.py

The images belong to that publisher and do not come with DenseBench. Arrange them as images/{train,val,test}/*.jpg and
annotations/{train,val,test}/*.png below `root`, a label of the same stem for every image; or link a folder that is
arranged like that: `ln -s PATH/TO/CAMVID data/camvid`.
"""

data = dict(
    name="camvid",
    kind="seg",
    root="data/camvid",  # relative to where the command runs
    images="images/{split}",
    labels="annotations/{split}",
    classes=(
        "sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist",
    ),
    ignore=(11,),  # void: in no loss and in no metric
    size=(96, 128),  # height, width of training crops and test images; scores are at the labels' own size
)  # fmt: skip
