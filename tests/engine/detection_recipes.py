"""What the tests of the detection recipes share: COCO's layout, a whole recipe on small images, rates and groups."""

import json

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS, DefaultScope
from PIL import Image

from backbones import build_encoder, fill_encoder_parts, save_checkpoint
from study.configure import load_config
from tests.backbones.conftest import meta_of

SMALL = {"name": "vit_base_patch16_224", "kwargs": {"embed_dim": 24, "num_heads": 2}}  # all of ViT-B's twelve blocks
LIGHT = {"name": "resnet10t", "kwargs": {}}


def write_coco(root):
    """Two training images and one validation image in COCO's layout; returns `root`."""
    rng = np.random.default_rng(0)
    classes = load_config("det_configs/mask_rcnn_mae.py", scale="paper").data.classes
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train2017", 2), ("val2017", 1)):
        (root / split).mkdir()
        content = {"categories": [dict(id=k + 1, name=name) for k, name in enumerate(classes)],
                   "images": [], "annotations": []}  # fmt: skip
        for k in range(1, count + 1):
            Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(root / f"{split}/{k}.jpg")
            content["images"].append(dict(id=k, file_name=f"{k}.jpg", height=96, width=128))
            content["annotations"].append(
                dict(id=k, image_id=k, category_id=18, bbox=[10, 10, 60, 50], area=3000, iscrowd=0,
                     segmentation=[[10, 10, 70, 10, 70, 60, 10, 60]])
            )  # fmt: skip
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return root


def shrink(node, factor):
    """Divide every size of image by `factor`, wherever it stands in a pipeline."""
    for step in node:
        if isinstance(step, list):
            shrink(step, factor)
            continue
        shrink(step.get("transforms", []), factor)
        for key in {"scale", "crop_size"} & set(step):
            step[key] = tuple(side // factor for side in step[key])
        if "scales" in step:
            step.scales = [tuple(side // factor for side in scale) for scale in step.scales]


def built(config, scale, encoder, folder, root):
    """Configuration and model of the whole recipe, with images an eighth as large and few proposals."""
    torch.manual_seed(0)
    save_checkpoint(folder, build_encoder(**encoder), meta_of(encoder))
    cfg = load_config(config, scale=scale, checkpoint=str(folder), options={"data.root": str(root)})
    fill_encoder_parts(cfg, folder, cfg.drop_path_rate)
    for loader in (cfg.train_dataloader.dataset, cfg.test_dataloader.dataset):
        shrink(loader.pipeline, 8)
    settings = cfg.model.train_cfg
    for stage in settings.rcnn if isinstance(settings.rcnn, list) else [settings.rcnn]:
        assert stage.sampler.num == 512
        stage.sampler.num = 16
    settings.rpn_proposal.max_per_img = cfg.model.test_cfg.rpn.max_per_img = 30
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg.model)
        model.init_weights()
        data = [DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.test_dataloader)]
    return cfg, model, *data


def step_and_test(model, train, test):
    """A training step on every training image, and the instances found on the first test image."""
    batch = model.data_preprocessor(pseudo_collate([train[k] for k in range(len(train))]), True)
    losses = model(**batch, mode="loss")
    total = sum(sum(v) if isinstance(v, list) else v for k, v in losses.items() if "loss" in k)
    total.backward()
    assert total.isfinite()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    model.eval()
    (out,) = model.test_step(pseudo_collate([test[0]]))
    assert out.pred_instances.masks.shape[1:] == out.ori_shape == (96, 128)
    assert 0 < len(out.pred_instances) <= 100 and int(out.pred_instances.labels.max()) < 80
    return set(losses)


def groups_of(cfg, model):
    """Parameter id -> (share of the full rate, weight decay)."""
    wrapper = {k: v for k, v in cfg.optim_wrapper.items() if k not in ("constructor", "paramwise_cfg")}
    recipe = dict(type=cfg.optim_wrapper.constructor, optim_wrapper_cfg=wrapper)
    made = OPTIM_WRAPPER_CONSTRUCTORS.build({**recipe, "paramwise_cfg": cfg.optim_wrapper.paramwise_cfg})(model)
    return {id(p): (g["lr"] / cfg.optim_wrapper.optimizer.lr, g["weight_decay"])
            for g in made.optimizer.param_groups for p in g["params"]}  # fmt: skip


def rates_at(cfg, wanted):
    """The learning rates of chosen iterations. Beyond the warm-up only milestones change the rate: it jumps there."""
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters(), lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(s, default_args={"optimizer": optimizer}) for s in cfg.param_scheduler]
    found, it = {}, 0
    for target in sorted(wanted):
        if target > 600:
            it = target - 1
            for scheduler in schedulers:
                scheduler.last_step = it
        while it < target:
            for scheduler in schedulers:
                scheduler.step()
            it += 1
        found[target] = optimizer.param_groups[0]["lr"] / cfg.optim_wrapper.optimizer.lr
    return found
