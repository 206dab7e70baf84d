"""Detection at the paper scales: whole configs, the published numbers, and a step of each recipe on COCO's layout."""

from pathlib import Path

import pytest
from mmengine.registry import DATASETS, DefaultScope

from backbones import build_encoder, fill_encoder_parts, save_checkpoint
from engine.errors import UserError
from study.configure import load_config
from tests.backbones.conftest import meta_of
from tests.engine.detection_recipes import LIGHT, SMALL, built, groups_of, rates_at, step_and_test, write_coco

METHODS = sorted(path.stem for path in Path("pretrain/configs").glob("*.py"))
BATCH = {"paper": 16, "paper-cae": 32, "paper-mobile": 16}
EPOCH = {16: 7330, 32: 3665}  # iterations: 117 266 images by batches of 16 and 32, rounded up
FORMS = {  # scale -> rate, weight decay, layer decay, drop-path, epochs after which the rate falls
    "paper": (1e-4, 0.05, 0.75, 0.2, (8, 11)),
    "paper-cae": (3e-4, 0.05, 0.75, 0.2, (9, 11)),
    "paper-mobile": (2e-4, 1e-4, 1.0, 0.0, (8, 11)),
}


def whole(scale, method="mae", **options):
    return load_config(f"det_configs/mask_rcnn_{method}.py", scale=scale, options=options)


@pytest.mark.parametrize("method", METHODS)
def test_every_config_loads(method):
    cfg = whole("paper", method)
    assert cfg.protocol == "coco-mask-rcnn-800x1333-paper-v1"
    assert cfg.checkpoint == f"runs/paper/pretrain/{method}/seed0/checkpoint"
    heads = cfg.model.roi_head
    assert heads.bbox_head.num_classes == heads.mask_head.num_classes == len(set(cfg.data.classes)) == 80
    assert cfg.test_evaluator.ann_file == "data/coco/annotations/instances_val2017.json"
    assert cfg.train_dataloader.dataset.data_prefix.img == "train2017"


@pytest.mark.parametrize("scale", FORMS)
def test_the_numbers_of_each_form(scale):
    cfg = whole(scale)
    batch, (rate, decay, layers, drop, _) = BATCH[scale], FORMS[scale]
    assert cfg.protocol == f"coco-mask-rcnn-800x1333-{scale}-v1", "each form has a protocol id of its own"
    assert cfg.work_dir == f"runs/{scale}/mask_rcnn/mae/seed0"
    assert cfg.checkpoint == "runs/paper/pretrain/mae/seed0/checkpoint", "all forms fine-tune the same encoders"
    assert cfg.train_cfg.by_aspect, "wide images with wide ones, as in every official recipe"
    assert cfg.train_dataloader.batch_size == batch and cfg.train_cfg.max_iters == 12 * EPOCH[batch]
    assert EPOCH[batch] == -(-117_266 // batch)
    assert cfg.optim_wrapper.optimizer.lr == rate and cfg.optim_wrapper.optimizer.weight_decay == decay
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay == layers and cfg.optim_wrapper.clip_grad is None
    assert cfg.drop_path_rate == drop and cfg.sync_bn == "torch" and "by_method" not in cfg
    test = next(t for t in cfg.test_dataloader.dataset.pipeline if t.type == "Resize")
    assert test.scale == (1333, 800)
    assert cfg.model.train_cfg.rpn_proposal.max_per_img == (2000 if scale == "paper-cae" else 1000)
    assert cfg.model.train_cfg.rpn_proposal.nms_pre == 2000 and cfg.model.test_cfg.rpn.max_per_img == 1000
    head = cfg.model.roi_head.bbox_head
    assert (head.fc_out_channels, head.num_classes, head.roi_feat_size) == (1024, 80, 7)
    if scale == "paper-cae":
        assert head.type == "Shared4Conv1FCBBoxHead" and head.conv_out_channels == 256 and head.norm_cfg.type == "BN"
        assert head.reg_decoded_bbox and head.loss_bbox == dict(type="GIoULoss", loss_weight=10.0)
        choice = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == "RandomChoice")
        (plain,), (first, crop, second) = choice.transforms
        sizes = [(s, 1333) for s in (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)]
        assert plain.scales == second.scales == sizes and first.scales == [(400, 1333), (500, 1333), (600, 1333)]
        assert crop.crop_type == "absolute_range" and crop.crop_size == (384, 600)
    else:
        assert head.type == "Shared2FCBBoxHead" and head.loss_bbox.type == "L1Loss"
        train = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == "Resize")
        assert train.scale == (1333, 800)


@pytest.mark.parametrize("name", ["paper-cae", "paper_cae"])
def test_a_form_is_found_by_its_name_with_either_dash(name):
    assert whole(name).scale == "paper-cae"
    with pytest.raises(UserError, match="choose one of paper, paper-cae, paper-mobile, study, tiny"):
        whole("paper-coe")


@pytest.mark.parametrize("scale", FORMS)
def test_the_rate_warms_up_and_steps_after_its_epochs(scale):
    cfg = whole(scale)
    first, second = (epochs * EPOCH[BATCH[scale]] for epochs in FORMS[scale][-1])
    assert cfg.param_scheduler[1].milestones == [first, second] and cfg.param_scheduler[0].end == 501
    expected = {0: 1e-3, 250: 1e-3 + 0.999 / 2, 500: 1, 550: 1, first - 1: 1, first: 0.1, second - 1: 0.1, second: 0.01}
    assert rates_at(cfg, expected) == pytest.approx(expected)


def test_cae_alone_keeps_its_positions():
    for scale, frozen in (("paper-cae", True), ("paper", False)):
        backbone = load_config("det_configs/mask_rcnn_cae.py", scale=scale).model.backbone
        assert backbone.get("freeze_positions", False) == frozen
    assert "freeze_positions" not in whole("paper-cae").model.backbone


@pytest.mark.parametrize("scale, encoder", [("paper", SMALL), ("paper-cae", SMALL), ("paper-mobile", LIGHT)])
def test_a_step_and_a_test_image(scale, encoder, tmp_path):
    coco = write_coco(tmp_path / "coco")
    cfg, model, train, test = built("det_configs/mask_rcnn_mae.py", scale, encoder, tmp_path / "encoder", coco)
    assert len(train) == 2 and train.shapes.tolist() == [[96, 128]] * 2, "by which they are grouped"
    drops = {m.drop_prob for m in model.backbone.modules() if type(m).__name__ == "DropPath"}
    assert max(drops, default=0.0) == pytest.approx(FORMS[scale][3])
    assert {"loss_rpn_cls", "loss_bbox", "loss_mask"} <= step_and_test(model, train, test)
    assert model.rpn_head.anchor_generator.base_sizes == [4, 8, 16, 32, 64]
    assert model.roi_head.mask_head.num_convs == 4
    assert len(getattr(model.roi_head.bbox_head, "shared_convs", ())) == (4 if scale == "paper-cae" else 0)
    _, decay, layers, _, _ = FORMS[scale]
    of = groups_of(cfg, model)
    assert of[id(model.roi_head.bbox_head.fc_cls.weight)] == (1.0, decay)
    assert of[id(model.roi_head.bbox_head.fc_cls.bias)] == (1.0, 0.0)
    if scale == "paper-mobile":
        assert {share for share, _ in of.values()} == {1.0}, "every stage trains at the full rate"
    else:
        patches = model.backbone.encoder.patch_embed.proj.weight
        assert of[id(patches)] == (pytest.approx(layers**13), decay)
        assert of[id(model.backbone.encoder.blocks[11].mlp.fc1.weight)] == (pytest.approx(layers), decay)


@pytest.mark.parametrize(
    "scale, encoder, hint",
    [("paper", LIGHT, "--scale paper-mobile"), ("paper-mobile", SMALL, "--scale paper or --scale paper-cae")],
)
def test_the_other_kind_of_encoder_is_sent_to_its_own_recipe(scale, encoder, hint, tmp_path):
    save_checkpoint(tmp_path / "encoder", build_encoder(**encoder), meta_of(encoder))
    with pytest.raises(UserError, match=f"encoder .{encoder['name']}., which this recipe is not for: use {hint}"):
        fill_encoder_parts(whole(scale), tmp_path / "encoder")


def test_missing_data_is_one_sentence(tmp_path):
    cfg = whole("paper", **{"data.root": str(tmp_path)})
    with DefaultScope.overwrite_default_scope("mmdet"), pytest.raises(UserError, match="there is no annotation file"):
        DATASETS.build(cfg.train_dataloader.dataset)
