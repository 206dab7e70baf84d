"""UperNet (Xiao et al. 2018): pyramid pooling and top-down fusion over four maps, with an auxiliary FCN head.

COMMAND   python tools/train.py seg_configs/upernet.py --encoder NAME|FOLDER
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "UperNet"
"""

_base_ = ["./_base_/segmentation.py"]
task, head = "upernet", "UPerHead"
# A classifier that starts at mmseg's std 0.01 needs thousands of steps to grow; these runs have a few hundred.
classifier_start = dict(type="Normal", std=0.1, override=dict(name="conv_seg"))
model = dict(
    type="EncoderDecoder",
    data_preprocessor=_base_.preprocessor,
    backbone={},
    decode_head=dict(
        type="UPerHead", in_channels="<encoder>", in_index=[0, 1, 2, 3], pool_scales=(1, 2, 3, 6), channels=32,
        num_classes="<data>", dropout_ratio=0.0, init_cfg=classifier_start, norm_cfg=dict(type="BN"),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    auxiliary_head=dict(
        type="FCNHead", in_channels="<encoder>", in_index=2, channels=32, num_convs=1, concat_input=False,
        num_classes="<data>", dropout_ratio=0.0, init_cfg=classifier_start, norm_cfg=dict(type="BN"),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4),
    ),
    train_cfg={},
    test_cfg=dict(mode="whole"),
)  # fmt: skip
