"""fill_encoder_parts fills what is marked, keeps what is stated, refuses what contradicts the checkpoint."""

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from backbones import fill_encoder_parts
from engine.errors import UserError


def upernet(**backbone):
    return Config(
        {
            "model": {
                "type": "EncoderDecoder",
                "data_preprocessor": {
                    "type": "SegDataPreProcessor",
                    "mean": "<encoder>",
                    "std": "<encoder>",
                    "bgr_to_rgb": True,
                },
                "backbone": backbone or None,
                "decode_head": {"type": "UPerHead", "in_channels": "<encoder>", "in_index": [0, 1, 2, 3]},
                "auxiliary_head": {"type": "FCNHead", "in_channels": "<encoder>", "in_index": 1},
            }
        }
    )


def mask_rcnn():
    extractor = {"type": "SingleRoIExtractor", "out_channels": 64, "featmap_strides": "<encoder>"}
    return Config(
        {
            "model": {
                "type": "MaskRCNN",
                "data_preprocessor": {"type": "DetDataPreprocessor", "mean": "<encoder>", "std": "<encoder>"},
                "backbone": None,
                "neck": {"type": "FPN", "in_channels": "<encoder>", "out_channels": 64, "num_outs": 5},
                "rpn_head": {"anchor_generator": {"type": "AnchorGenerator", "strides": "<encoder>"}},
                "roi_head": {"bbox_roi_extractor": dict(extractor), "mask_roi_extractor": dict(extractor)},
            }
        }
    )


def test_segmentation_with_a_plain_vit(write):
    folder, _ = write()
    cfg = upernet(taps=(0, 1, 2, 3), norm_cfg={"type": "GN", "num_groups": 8})
    meta = fill_encoder_parts(cfg, folder, drop_path_rate=0.1)
    assert meta["method"] == "mae"
    assert cfg.model.backbone == {
        "type": "ViTPyramid",
        "checkpoint": str(folder),
        "taps": (0, 1, 2, 3),
        "norm_cfg": {"type": "GN", "num_groups": 8},
        "drop_path_rate": 0.1,
    }
    assert cfg.model.decode_head.in_channels == [96, 96, 96, 96]
    assert cfg.model.auxiliary_head.in_channels == 96
    assert cfg.model.data_preprocessor.mean == pytest.approx([127.5, 102.0, 76.5])
    assert cfg.model.data_preprocessor.std == pytest.approx([51.0, 63.75, 76.5])
    assert "ViTPyramid" in cfg.pretty_text


def test_segmentation_with_a_hierarchical_encoder(write):
    folder, _ = write({"name": "mobilenetv2_100", "kwargs": {}})
    cfg = upernet()
    fill_encoder_parts(cfg, folder)
    assert cfg.model.backbone == {"type": "HierarchicalPyramid", "checkpoint": str(folder)}
    assert cfg.model.decode_head.in_channels == [24, 32, 96, 320]
    assert cfg.model.auxiliary_head.in_channels == 32


@pytest.mark.parametrize(
    ("encoder", "strides", "channels"),
    [(None, [4, 8, 16, 32], [96] * 4), ("resnet18", [4, 8, 16, 32], [64, 128, 256, 512])],
)
def test_detection(write, encoder, strides, channels):
    folder, _ = write({"name": encoder, "kwargs": {}}) if encoder else write()
    cfg = mask_rcnn()
    fill_encoder_parts(cfg, folder)
    model = cfg.model
    assert model.neck.in_channels == channels
    assert model.rpn_head.anchor_generator.strides == [*strides, 2 * strides[-1]]
    assert model.roi_head.bbox_roi_extractor.featmap_strides == strides
    assert model.roi_head.mask_roi_extractor.featmap_strides == strides


def test_heads_behind_a_neck_see_its_outputs(write):
    cfg = upernet()
    cfg.model.neck = {"type": "FPN", "in_channels": "<encoder>", "out_channels": 48, "num_outs": 4}
    fill_encoder_parts(cfg, write()[0])
    assert cfg.model.neck.in_channels == [96] * 4
    assert cfg.model.decode_head.in_channels == [48] * 4
    assert cfg.model.auxiliary_head.in_channels == 48


def test_stated_numbers_are_kept(write):
    cfg = mask_rcnn()
    cfg.model.neck.in_channels = [1, 2, 3, 4]
    cfg.model.rpn_head.anchor_generator.strides = [7]
    fill_encoder_parts(cfg, write()[0])
    assert cfg.model.neck.in_channels == [1, 2, 3, 4]
    assert cfg.model.rpn_head.anchor_generator.strides == [7]


def test_image_constants(write):
    folder, _ = write()
    agreeing = upernet()
    agreeing.model.data_preprocessor.mean = [127.5, 102.0, 76.5]
    fill_encoder_parts(agreeing, folder)
    contradicting = upernet()
    contradicting.model.data_preprocessor.mean = [123.675, 116.28, 103.53]
    with pytest.raises(UserError, match=r"data_preprocessor\.mean.*123\.675.*127\.5"):
        fill_encoder_parts(contradicting, folder)
    top = upernet()
    top.data_preprocessor = top.model.pop("data_preprocessor")
    fill_encoder_parts(top, folder)
    assert top.data_preprocessor.std == pytest.approx([51.0, 63.75, 76.5])
    none = upernet()
    none.model.pop("data_preprocessor")
    with pytest.raises(UserError, match="no model.data_preprocessor"):
        fill_encoder_parts(none, folder)


def test_another_adapter_stated(write):
    with pytest.raises(UserError, match=r"HierarchicalPyramid.*needs ViTPyramid"):
        fill_encoder_parts(upernet(type="HierarchicalPyramid"), write()[0])


def test_a_missing_checkpoint_names_its_command(tmp_path):
    place = tmp_path / "elsewhere"
    with pytest.raises(UserError) as error:
        fill_encoder_parts(upernet(), place, method="mae", scale="study", seed=2)
    assert str(place) in str(error.value)
    assert "`python tools/train.py pretrain/configs/mae.py --scale study --seed 2`" in str(error.value)


def test_a_bound_mask_rcnn_runs_with_its_anchors_on_the_maps(write):
    """The anchor grids that mmdet lays out must have the sizes of the maps it gets."""
    import mmdet.models  # noqa: F401
    import torch
    from mmdet.registry import MODELS, TASK_UTILS

    cfg = mask_rcnn()
    fill_encoder_parts(cfg, write()[0])
    with DefaultScope.overwrite_default_scope("mmdet"):
        backbone, neck = MODELS.build(cfg.model.backbone), MODELS.build(cfg.model.neck)
        anchors = dict(cfg.model.rpn_head.anchor_generator, scales=[4], ratios=[1.0])
        generator = TASK_UTILS.build(anchors)
    with torch.no_grad():
        maps = neck(backbone.eval()(torch.zeros(1, 3, 64, 128)))
    sizes = [tuple(m.shape[-2:]) for m in maps]
    assert sizes == [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]
    for (h, w), (sx, sy) in zip(sizes, generator.strides, strict=True):
        assert (h * sy, w * sx) == (64, 128)
