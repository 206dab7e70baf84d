"""SemanticFPN (Kirillov et al. 2019): a feature pyramid whose levels are upsampled and summed.

COMMAND   python tools/train.py seg_configs/semantic_fpn.py --encoder NAME|FOLDER
COST      docs/study.md, "Cost"; of the paper scales docs/protocols.md, "COST"
EXPECTED  docs/study.md, "Main table"; of the paper scales docs/protocols.md, "SemanticFPN"
"""

_base_ = ["./_base_/segmentation.py"]
task, head = "semantic_fpn", "FPNHead"
# A classifier that starts at mmseg's std 0.01 needs thousands of steps to grow; these runs have a few hundred.
classifier_start = dict(type="Normal", std=0.1, override=dict(name="conv_seg"))
model = dict(
    type="EncoderDecoder",
    data_preprocessor=_base_.preprocessor,
    backbone={},
    neck=dict(type="FPN", in_channels="<encoder>", out_channels=32, num_outs=4),
    decode_head=dict(
        type="FPNHead", in_channels=[32] * 4, in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32], channels=32,
        num_classes="<data>", dropout_ratio=0.0, init_cfg=classifier_start, norm_cfg=dict(type="BN"),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    train_cfg={},
    test_cfg=dict(mode="whole"),
)  # fmt: skip
