"""Segmentation at scale "paper": the published numbers, whole configs, and a step of each head on ADE20K's layout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS, DefaultScope
from PIL import Image

from backbones import build_encoder, fill_encoder_parts, save_checkpoint
from engine.errors import UserError
from study.configure import load_config
from tests.backbones.conftest import meta_of

METHODS = sorted(path.stem for path in Path("pretrain/configs").glob("*.py"))
SMALL = {"name": "vit_base_patch16_224", "kwargs": {"embed_dim": 24, "num_heads": 2}}  # all of ViT-B's twelve blocks
LIGHT = {"name": "resnet10t", "kwargs": {}}


@pytest.fixture
def ade20k(tmp_path):
    """Four training and two validation images of unequal sizes with ids 0 (ignored) to 150."""
    rng = np.random.default_rng(0)
    for split, count in (("training", 4), ("validation", 2)):
        for kind in ("images", "annotations"):
            (tmp_path / "ade20k" / kind / split).mkdir(parents=True)
        for k in range(count):
            shape = (rng.integers(40, 60), rng.integers(60, 90))
            image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
            label = np.kron(rng.integers(0, 151, (4, 4)), np.ones((15, 23)))[: shape[0], : shape[1]]
            Image.fromarray(image).save(tmp_path / f"ade20k/images/{split}/ADE_{k}.jpg")
            Image.fromarray(label.astype(np.uint8)).save(tmp_path / f"ade20k/annotations/{split}/ADE_{k}.png")
    return tmp_path / "ade20k"


def whole(head, method="mae", encoder=SMALL, folder=None, **options):
    """The configuration at scale paper, bound to a checkpoint of `encoder` where a folder is given."""
    if folder is None:
        return load_config(f"seg_configs/{head}_{method}.py", scale="paper", options=options)
    torch.manual_seed(0)
    save_checkpoint(folder, build_encoder(**encoder), meta_of(encoder))
    cfg = load_config(f"seg_configs/{head}_{method}.py", scale="paper", checkpoint=str(folder), options=options)
    fill_encoder_parts(cfg, folder, cfg.get("drop_path_rate"))
    return cfg


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("head", ["upernet", "semantic_fpn"])
def test_every_config_loads(head, method):
    cfg = whole(head, method)
    assert cfg.protocol == f"ade20k-{head.replace('_', '-')}-512-paper-v1"
    assert cfg.checkpoint == f"runs/paper/pretrain/{method}/seed0/checkpoint"
    assert cfg.work_dir == f"runs/paper/{head}/{method}/seed0"
    assert len(cfg.data.classes) == len(set(cfg.data.classes)) == cfg.model.decode_head.num_classes == 150
    train, test = cfg.train_dataloader.dataset, cfg.test_dataloader.dataset
    assert (train.images, train.labels) == ("images/training", "annotations/training")
    assert (test.images, test.labels) == ("images/validation", "annotations/validation")
    assert train.reduce_zero_label and test.reduce_zero_label
    assert cfg.train_dataloader.batch_size == {"upernet": 16, "semantic_fpn": 32}[head]
    assert cfg.train_cfg.max_iters == {"upernet": 160_000, "semantic_fpn": 40_000}[head]
    assert cfg.optim_wrapper.clip_grad is None and cfg.sync_bn == "torch" and "by_method" not in cfg


@pytest.mark.parametrize("method, rate", [("mae", 1e-4), ("beit", 7e-4), ("cae", 1e-4), ("clip", 1e-4), ("dino", 1e-4)])
def test_rates_of_the_families(method, rate):
    cfg = whole("upernet", method)
    assert cfg.optim_wrapper.optimizer.lr == rate and cfg.optim_wrapper.optimizer.weight_decay == 0.05
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay == 0.65 and cfg.drop_path_rate == 0.1
    assert not cfg.model.backbone.get("final_norm", False)  # no published code norms its taps
    assert cfg.model.backbone.get("freeze_positions", False) == (method == "cae")
    added = (512, 512) if method in ("mae", "cae") else None  # relative position bias from zero, at the crop's grid
    assert cfg.model.backbone.get("relative_bias") == added


@pytest.mark.parametrize("name, width", [("vit_base_patch16_224", 768), ("vit_large_patch16_224", 1024),
                                         ("resnet10t", 512)])  # fmt: skip
def test_the_head_is_as_wide_as_a_plain_vit(name, width, tmp_path, monkeypatch):
    import backbones.fill as filler

    monkeypatch.setattr(filler, "checkpoint_exists", lambda folder: True)
    monkeypatch.setattr(filler, "read_checkpoint", lambda folder: meta_of({"name": name, "kwargs": {}}))
    cfg = whole("upernet")
    fill_encoder_parts(cfg, tmp_path, cfg.drop_path_rate)
    head, auxiliary = cfg.model.decode_head, cfg.model.auxiliary_head
    assert head.channels == width and (auxiliary.channels, auxiliary.in_index) == (256, 2)
    assert ("relative_bias" in cfg.model.backbone) == name.startswith("vit")
    if name.startswith("vit"):
        assert head.in_channels == [width] * 4 and auxiliary.in_channels == width


def first_rates(cfg, model):
    """The optimizer's groups and their learning rates in the first iteration, as mmengine's schedulers leave them."""
    wrapper_cfg = {k: v for k, v in cfg.optim_wrapper.items() if k not in ("constructor", "paramwise_cfg")}
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(type=cfg.optim_wrapper.constructor, optim_wrapper_cfg=wrapper_cfg,
             paramwise_cfg=cfg.optim_wrapper.paramwise_cfg)
    )(model)  # fmt: skip
    for scheduler in cfg.param_scheduler:
        PARAM_SCHEDULERS.build(scheduler, default_args={"optimizer": wrapper})
    groups = wrapper.optimizer.param_groups
    return groups, [group["lr"] for group in groups]


def test_upernet_rates_follow_the_published_formula():
    """mmcv 1.x: base (1 - it / 160000), times 1 - (1 - it / 1500)(1 - 1e-6) before iteration 1500."""
    cfg = whole("upernet")
    at = {0, 1, 750, 1499, 1500, 1501, 4000}
    probe = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=1e-4)
    schedulers = [PARAM_SCHEDULERS.build(s, default_args={"optimizer": optimizer}) for s in cfg.param_scheduler]
    for it in range(max(at) + 1):
        if it in at:
            expected = 1e-4 * (1 - it / 160_000) * (1 - max(0.0, 1 - it / 1500) * (1 - 1e-6))
            assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-5), it
        for scheduler in schedulers:
            scheduler.step()


def test_semantic_fpn_rates_begin_full_and_end_at_zero():
    cfg = whole("semantic_fpn", **{"train_cfg.max_iters": 400})
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters(), lr=2e-4)
    (poly,) = [PARAM_SCHEDULERS.build(s, default_args={"optimizer": optimizer}) for s in cfg.param_scheduler]
    seen = []
    for _ in range(400):
        seen.append(optimizer.param_groups[0]["lr"])
        poly.step()
    assert seen[0] == 2e-4 == cfg.optim_wrapper.optimizer.lr
    assert seen[200] == pytest.approx(2e-4 * (1 - 200 / 399) ** 0.9) and seen[-1] == 0
    assert whole("semantic_fpn").param_scheduler[0].end == 40_000


def build(cfg):
    with DefaultScope.overwrite_default_scope("mmseg"):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        return (model, DATASETS.build(cfg.train_dataloader.dataset), DATASETS.build(cfg.test_dataloader.dataset),
                Evaluator(cfg.test_evaluator))  # fmt: skip


@pytest.mark.parametrize("head, encoder", [("upernet", SMALL), ("semantic_fpn", LIGHT)])
def test_a_step_and_a_test_image(head, encoder, ade20k, tmp_path):
    """The whole pipeline and the whole recipe; images of 64 instead of 512 pixels, heads of a few channels."""
    cfg = whole(head, "mae", encoder, tmp_path / "encoder", **{"data.root": str(ade20k), "data.size": (64, 64)})
    for pipeline in (cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline):
        next(t for t in pipeline if "scale" in t).scale = (256, 64)
    if head == "upernet":
        cfg.model.decode_head.channels = cfg.model.auxiliary_head.channels = 8
        cfg.model.test_cfg.update(crop_size=(64, 64), stride=(42, 42))
    model, train, test, evaluator = build(cfg)
    if head == "upernet":
        assert model.backbone.encoder.blocks[11].attn.relative_position_bias_table.shape == (63 * 63 + 3, 2)
    drops = {m.drop_prob for m in model.backbone.modules() if type(m).__name__ == "DropPath"}
    assert not drops or max(drops) == pytest.approx(0.1 if head == "upernet" else 0.0)
    samples = [train[k] for k in range(4)]
    assert all(s["inputs"].shape[-1] <= 64 and s["inputs"].shape[-2] <= 64 for s in samples)
    labels = torch.cat([s["data_samples"].gt_sem_seg.data.flatten() for s in samples])
    assert set(labels.unique().tolist()) <= {*range(150), 255}
    groups, found = first_rates(cfg, model)
    assert all(lr == pytest.approx(g["initial_lr"] * (1e-6 if head == "upernet" else 1))
               for g, lr in zip(groups, found, strict=True))  # fmt: skip
    loss = sum(v for k, v in model(**model.data_preprocessor(pseudo_collate(samples), True), mode="loss").items()
               if "loss" in k)  # fmt: skip
    loss.backward()
    assert loss.isfinite() and not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    evaluator.dataset_meta = test.metainfo
    model.eval()
    for k in range(2):
        sample = test[k]
        height, width = sample["inputs"].shape[-2:]
        assert min(height, width) >= 64 and (head == "upernet" or height % 32 == width % 32 == 0)
        (out,) = model.test_step(pseudo_collate([sample]))
        assert out.pred_sem_seg.data.shape[-2:] == out.ori_shape == out.gt_sem_seg.data.shape[-2:]
        evaluator.process([out], None)
    assert 0 <= evaluator.evaluate(2)["mIoU"] <= 100


def test_layer_decay_from_the_patches_to_the_head(tmp_path):
    """Group g of L + 2 trains at 0.65 ** (L + 1 - g): patches at 0.65 ** 13, block 12 at 0.65, heads in full."""
    cfg = whole("upernet", "mae", SMALL, tmp_path / "encoder")
    cfg.model.decode_head.channels = cfg.model.auxiliary_head.channels = 8
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(cfg.model)
    groups, _ = first_rates(cfg, model)
    scale = {id(p): g["lr_scale"] for g in groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    encoder = model.backbone.encoder
    assert scale[id(encoder.patch_embed.proj.weight)] == pytest.approx(0.65**13)
    assert scale[id(encoder.pos_embed)] == pytest.approx(0.65**13) and decay[id(encoder.pos_embed)] == 0
    for k in (0, 11):
        assert scale[id(encoder.blocks[k].attn.qkv.weight)] == pytest.approx(0.65 ** (12 - k))
        table = encoder.blocks[k].attn.relative_position_bias_table
        assert scale[id(table)] == pytest.approx(0.65 ** (12 - k)) and decay[id(table)] == 0
    outside = [
        *model.decode_head.parameters(),
        *model.auxiliary_head.parameters(),
        *model.backbone.rescale.parameters(),
    ]
    assert {scale[id(p)] for p in outside} == {1.0}
    assert decay[id(model.decode_head.conv_seg.weight)] == 0.05 and decay[id(model.decode_head.conv_seg.bias)] == 0


def test_missing_data_is_one_sentence(tmp_path):
    cfg = whole("upernet", **{"data.root": str(tmp_path / "ade20k")})
    with DefaultScope.overwrite_default_scope("mmseg"), pytest.raises(UserError) as error:
        DATASETS.build(cfg.train_dataloader.dataset)
    assert f"{tmp_path}/ade20k/images/training: no such folder; put the data there" in str(error.value)
    assert "\n" not in str(error.value)
