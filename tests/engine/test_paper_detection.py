"""Mask R-CNN at scale "paper": whole configs, the schedule's steps, and a training step of the full heads."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, PARAM_SCHEDULERS, DefaultScope
from PIL import Image

from backbones import bind_encoder, build_encoder, save_checkpoint
from engine.config import load_config
from engine.errors import UserError
from tests.backbones.conftest import meta_of

METHODS = sorted(path.stem for path in Path("pretrain/configs").glob("*.py"))
SMALL = {"name": "vit_base_patch16_224", "kwargs": {"embed_dim": 24, "num_heads": 2}}


@pytest.mark.parametrize("method", METHODS)
def test_every_config_loads(method):
    cfg = load_config(f"det_configs/mask_rcnn_{method}.py", scale="paper")
    assert cfg.protocol == "coco-mask-rcnn-paper-v1"
    assert cfg.checkpoint == f"runs/paper/pretrain/{method}/seed0/checkpoint"
    assert cfg.train_dataloader.batch_size == 16 and cfg.train_cfg.max_iters == 12 * 7330
    heads = cfg.model.roi_head
    assert heads.bbox_head.num_classes == heads.mask_head.num_classes == len(set(cfg.data.classes)) == 80
    assert cfg.test_evaluator.ann_file == "data/coco/annotations/instances_val2017.json"
    assert cfg.train_dataloader.dataset.dataset.data_prefix.img == "train2017"


def test_the_rate_warms_up_and_steps_after_epochs_8_and_11():
    cfg = load_config("det_configs/mask_rcnn_mae.py", scale="paper")
    rate = cfg.optim_wrapper.optimizer.lr
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters(), lr=rate)
    schedulers = [PARAM_SCHEDULERS.build(s, default_args={"optimizer": optimizer}) for s in cfg.param_scheduler]
    expected = {0: 1e-3, 250: 1e-3 + 0.999 / 2, 500: 1, 8 * 7330 - 1: 1, 8 * 7330: 0.1, 11 * 7330: 0.01}
    for it in range(max(expected) + 1):
        if it in expected:
            assert optimizer.param_groups[0]["lr"] == pytest.approx(rate * expected[it]), it
        for scheduler in schedulers:
            scheduler.step()


def test_a_step_of_the_full_heads(tmp_path):
    rng = np.random.default_rng(0)
    cfg = load_config("det_configs/mask_rcnn_mae.py", scale="paper", checkpoint=str(tmp_path / "encoder"),
                      options={"data.root": str(tmp_path), "model.train_cfg.rpn_proposal.max_per_img": 50})  # fmt: skip
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017").mkdir()
    Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(tmp_path / "train2017/1.jpg")
    corners = [10, 10, 70, 10, 70, 60, 10, 60]
    content = {
        "images": [dict(id=1, file_name="1.jpg", height=96, width=128)],
        "categories": [dict(id=k + 1, name=name) for k, name in enumerate(cfg.data.classes)],
        "annotations": [dict(id=1, image_id=1, category_id=18, bbox=[10, 10, 60, 50], area=3000, iscrowd=0,
                             segmentation=[corners])],
    }  # fmt: skip
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    save_checkpoint(tmp_path / "encoder", build_encoder(**SMALL), meta_of(SMALL))
    bind_encoder(cfg, tmp_path / "encoder", cfg.drop_path_rate)
    settings = cfg.train_dataloader.dataset.dataset
    assert next(t for t in settings.pipeline if t.type == "Resize").scale == (1333, 800)
    next(t for t in settings.pipeline if t.type == "Resize").scale = (128, 96)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg.model)
        train = DATASETS.build(cfg.train_dataloader.dataset)
    batch = model.data_preprocessor(pseudo_collate([train[0]]), True)
    losses = model(**batch, mode="loss")
    total = sum(sum(v) if isinstance(v, list) else v for k, v in losses.items() if "loss" in k)
    total.backward()
    assert total.isfinite() and {"loss_rpn_cls", "loss_bbox", "loss_mask"} <= set(losses)
    assert model.rpn_head.anchor_generator.base_sizes == [4, 8, 16, 32, 64]
    assert model.roi_head.mask_head.num_convs == 4


def test_missing_data_is_one_sentence(tmp_path):
    cfg = load_config("det_configs/mask_rcnn_mae.py", scale="paper", options={"data.root": str(tmp_path)})
    with DefaultScope.overwrite_default_scope("mmdet"), pytest.raises(UserError, match="there is no annotation file"):
        DATASETS.build(cfg.train_dataloader.dataset)
