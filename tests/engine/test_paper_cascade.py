"""Cascade Mask R-CNN: its three stages at every scale, the numbers of 3x, and a step of the whole recipe."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

from backbones import build_encoder, fill_encoder_parts, save_checkpoint
from engine.errors import UserError
from study.configure import load_config
from study.studies import Study
from tests.backbones.conftest import TINY, meta_of
from tests.engine.detection_recipes import SMALL, built, groups_of, rates_at, step_and_test, write_coco

METHODS = sorted(path.stem for path in Path("pretrain/configs").glob("*.py"))
EPOCH = 7330  # 117 266 images by batches of 16
STDS = [(0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067)]
OVERLAPS = [0.5, 0.6, 0.7]


def whole(method="mae", scale="paper", **arguments):
    return load_config(f"det_configs/cascade_mask_rcnn_{method}.py", scale=scale, **arguments)


@pytest.mark.parametrize("method", METHODS)
def test_every_config_loads(method):
    cfg = whole(method)
    assert cfg.protocol == "coco-cascade-mask-rcnn-800x1333-paper-v1"
    assert cfg.work_dir == f"runs/paper/cascade_mask_rcnn/{method}/seed0"
    assert cfg.checkpoint == f"runs/paper/pretrain/{method}/seed0/checkpoint"
    assert cfg.train_dataloader.batch_size == 16 and cfg.train_cfg.max_iters == 36 * EPOCH
    layers, drop = (0.8, 0.1) if method in ("beit", "fd") else (0.65, 0.2)  # relative and absolute positions
    assert (cfg.optim_wrapper.paramwise_cfg.layer_decay, cfg.drop_path_rate) == (layers, drop)
    assert cfg.optim_wrapper.optimizer.lr == 1e-4 and cfg.optim_wrapper.optimizer.weight_decay == 0.05


def stages_of(cfg):
    heads, stages = cfg.model.roi_head, cfg.model.train_cfg.rcnn
    assert heads.num_stages == len(heads.bbox_head) == len(stages) == 3
    assert heads.stage_loss_weights == [1.0, 0.5, 0.25]
    assert [tuple(head.bbox_coder.target_stds) for head in heads.bbox_head] == STDS
    for stage, overlap in zip(stages, OVERLAPS, strict=True):
        assigner = stage.assigner
        assert assigner.pos_iou_thr == assigner.neg_iou_thr == assigner.min_pos_iou == overlap
        assert not assigner.match_low_quality
    return list(zip(heads.bbox_head, stages, strict=True))


def test_three_stages_at_every_scale():
    for head, stage in stages_of(whole(scale="tiny")):
        assert head.type == "Shared2FCBBoxHead" and head.num_classes == 6 and stage.sampler.num == 32
    cfg = whole(scale="paper")
    for head, stage in stages_of(cfg):
        assert head.type == "Shared4Conv1FCBBoxHead" and head.num_classes == 80 and stage.sampler.num == 512
        assert head.reg_decoded_bbox and head.loss_bbox == dict(type="GIoULoss", loss_weight=10.0)
    assert cfg.model.rpn_head.loss_bbox == dict(type="SmoothL1Loss", beta=1 / 9)
    assert cfg.model.train_cfg.rpn_proposal.max_per_img == 2000
    cae = load_config("det_configs/mask_rcnn_mae.py", scale="paper-cae").train_dataloader.dataset.pipeline
    assert cfg.train_dataloader.dataset.pipeline == cae, "both train at many sizes"


def test_the_rate_warms_up_and_steps_after_epochs_27_and_33():
    first, second = 27 * EPOCH, 33 * EPOCH
    expected = {0: 1e-3, 250: 1e-3 + 0.999 / 2, 500: 1, first - 1: 1, first: 0.1, second - 1: 0.1, second: 0.01}
    cfg = whole()
    assert cfg.param_scheduler[1].milestones == [first, second]
    assert rates_at(cfg, expected) == pytest.approx(expected)


def test_a_step_and_a_test_image(tmp_path):
    coco = write_coco(tmp_path / "coco")
    config = "det_configs/cascade_mask_rcnn_mae.py"
    cfg, model, train, test = built(config, "paper", SMALL, tmp_path / "encoder", coco)
    found = step_and_test(model, train, test)
    assert {f"s{k}.{name}" for k in range(3) for name in ("loss_cls", "loss_bbox", "loss_mask")} <= found
    assert all(len(head.shared_convs) == 4 and len(head.shared_fcs) == 1 for head in model.roi_head.bbox_head)
    of = groups_of(cfg, model)
    assert of[id(model.backbone.encoder.patch_embed.proj.weight)] == (pytest.approx(0.65**13), 0.05)
    assert {of[id(p)][0] for head in model.roi_head.bbox_head for p in head.parameters()} == {1.0}


def test_a_step_at_scale_tiny_on_data_of_ones_own(tmp_path):
    coco = write_coco(tmp_path / "coco")
    overlay = tmp_path / "mine.py"
    overlay.write_text(
        f"data = dict(name='mine', kind='coco', root='{coco}', annotations='annotations/instances_{{split}}.json',\n"
        "            images='{split}', splits=dict(train='train2017', val='val2017', test='val2017'), size=(96, 128))\n"
    )
    cfg = whole("maskclip", "tiny", data=str(overlay), checkpoint=str(tmp_path / "encoder"))
    assert cfg.protocol == "mine-cascade-mask-rcnn-96x128-tiny-v1"
    save_checkpoint(tmp_path / "encoder", build_encoder(**TINY), meta_of(TINY))
    fill_encoder_parts(cfg, tmp_path / "encoder")
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    with DefaultScope.overwrite_default_scope("mmdet"):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        data = [DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.test_dataloader)]
    step_and_test(model, *data)
    (out,) = model.test_step(pseudo_collate([data[1][0]]))
    assert len(out.pred_instances) <= 20


def test_it_is_in_no_plan_but_can_be_asked_for():
    always = {cell.task for cell in Study("tiny", ("random",), (), (0,), None).cells()}
    assert "cascade_mask_rcnn" not in always and {"mask_rcnn", "upernet"} < always
    asked = Study("tiny", ("random",), ("cascade_mask_rcnn",), (0,), None).cells()
    (cell,) = [c for c in asked if c.task != "pretrain"]
    assert cell.path == "det_configs/cascade_mask_rcnn.py" and Path(cell.path).is_file()


def test_the_other_forms_of_mask_rcnn_are_not_its_own():
    with pytest.raises(UserError, match="no scale 'paper-cae': the cascade has one published form here, --scale paper"):
        whole(scale="paper-cae")
