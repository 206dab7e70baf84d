"""Boxes and masks in COCO's format, here in the file names of COCO 2017.

    python tools/train.py det_configs/mask_rcnn_mae.py --data docs/overlays/coco.py

Every annotation needs a `segmentation`: Mask R-CNN learns masks. Put the names, root and size of your data here.
"""

data = dict(
    name="coco2017",
    kind="coco",
    root="data/coco",
    annotations="annotations/instances_{split}.json",
    images="{split}",
    splits=dict(train="train2017", val="val2017", test="val2017"),  # the test split's labels are not public
    size=(256, 256),  # height, width that images are scaled to fit, their proportions kept
)  # no `classes`: they are read from the training file
