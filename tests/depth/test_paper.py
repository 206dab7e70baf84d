"""Depth at scale "paper": the recipe's numbers, its augmentations, and a step and a test image of NYUv2's size."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, DefaultScope
from mmseg.registry import MODELS
from PIL import Image

from backbones import build_encoder, fill_encoder_parts, save_checkpoint
from depth.augment import ColourChanges, VerticalCutDepth
from depth.metric import depth_errors
from depth.schedule import OneCycleHook
from engine.errors import UserError
from study.configure import load_config
from tests.backbones.conftest import meta_of

METHODS = sorted(path.stem for path in Path("pretrain/configs").glob("*.py"))
SMALL = {"name": "vit_base_patch16_224", "kwargs": {"embed_dim": 24, "num_heads": 2}}


@pytest.mark.parametrize("method", METHODS)
def test_every_config_loads(method):
    cfg = load_config(f"depth/configs/{method}.py", scale="paper")
    assert cfg.protocol == "nyuv2-depth-480-paper-v1"
    assert cfg.checkpoint == f"runs/paper/pretrain/{method}/seed0/checkpoint"
    assert cfg.train_dataloader.batch_size == 24 and cfg.train_cfg.max_iters * 24 == pytest.approx(25 * 24231, abs=24)
    assert cfg.model.decode_head.max_depth == 10 and cfg.drop_path_rate == 0.3
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05 and cfg.optim_wrapper.paramwise_cfg.layer_decay == 0.9
    assert cfg.sync_bn == "torch"  # the published code's BN sees one device: docs/departures.md says why not here
    assert cfg.test_evaluator.eigen_crop and cfg.val_evaluator.eigen_crop
    assert {"rmse", "rmse_pooled", "delta1"} <= set(cfg.metrics)
    assert [hook.type for hook in cfg.custom_hooks] == ["OneCycleHook", "PanelHook"]


def test_the_rate_follows_the_published_formula():
    """3e-5 + (5e-4 - 3e-5) (it / (12 ipe))^0.9, then max(3e-5, 5e-4 - (5e-4 - 3e-5) (it / (12 ipe) - 1)^0.9)."""
    cfg = load_config("depth/configs/mae.py", scale="paper")
    stated = {k: v for k, v in cfg.custom_hooks[0].items() if k != "type"}
    hook, last = OneCycleHook(**stated), cfg.train_cfg.max_iters
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [dict(params=[p], lr_scale=scale) for p, scale in zip(parameters, (1.0, 0.9**13), strict=True)]
    optimizer = torch.optim.AdamW(groups, lr=cfg.optim_wrapper.optimizer.lr)
    half = 12 * last / 25
    for it in (0, 1, 6000, int(half), int(half) + 1, 18_000, int(2 * half), int(2 * half) + 2, last - 1):
        hook.before_train_iter(
            SimpleNamespace(iter=it, max_iters=last, optim_wrapper=SimpleNamespace(optimizer=optimizer)), it
        )
        if it < half:
            expected = 3e-5 + (5e-4 - 3e-5) * (it / half) ** 0.9
        else:
            expected = max(3e-5, 5e-4 - (5e-4 - 3e-5) * (it / half - 1) ** 0.9)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        assert optimizer.param_groups[1]["lr"] == pytest.approx(expected * 0.9**13)
    assert expected == 3e-5, "the twenty-fifth epoch runs at the floor"


def sample():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return {"img": image, "gt_depth_map": rng.uniform(0, 10, (30, 40)).astype(np.float32), "max_depth": 10.0}


def test_cut_depth_pastes_a_strip_of_full_height():
    np.random.seed(3)
    changed = 0
    for _ in range(400):
        before = sample()
        original = before["img"].copy()
        after = VerticalCutDepth()(before)["img"]
        columns = np.flatnonzero((after != original).any(axis=(0, 2)))
        if len(columns):
            changed += 1
            start, end = columns[0], columns[-1] + 1
            grey = (before["gt_depth_map"][:, start:end] * 25.5).astype(np.uint8)
            assert (after[:, start:end] == grey[..., None]).all() and end - start <= max(1, 0.75 * (40 - start))
    assert 70 < changed < 130, "a quarter of 400"


def test_colours_change_within_their_ranges():
    np.random.seed(0)
    original = sample()["img"]
    assert (ColourChanges(prob=0.0)({"img": original})["img"] == original).all()
    seen = {ColourChanges()({"img": original})["img"].tobytes() for _ in range(40)}
    assert 20 < len(seen) < 40, "with 1/8 nothing changes"
    grey = np.full((2, 2, 3), 128, np.uint8)
    for _ in range(50):
        found = ColourChanges(prob=1.0)({"img": grey})["img"].astype(float)
        value = cv2.cvtColor(found.astype(np.uint8), cv2.COLOR_BGR2HSV)[..., 2]
        lowest, highest = (255 * ((128 * c + s) / 255) ** g for c, s, g in ((0.8, -51, 1.2), (1.2, 51, 0.8)))
        assert lowest - 22 <= value.min() and value.max() <= highest + 22


@pytest.fixture
def nyuv2(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for k in range(2):
            image, depth = tmp_path / f"nyu/images/{split}/room/{k}.jpg", tmp_path / f"nyu/depth/{split}/room/{k}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            depth.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)).save(image)
            Image.fromarray(rng.integers(500, 9999, (480, 640)).astype(np.uint16)).save(depth)
    return tmp_path / "nyu"


def bound(encoder, folder, scale="paper", **options):
    save_checkpoint(folder, build_encoder(**encoder), meta_of(encoder))
    options = {"model.decode_head.embed_dim": 4, **options}
    cfg = load_config("depth/configs/mae.py", scale=scale, checkpoint=str(folder), options=options)
    fill_encoder_parts(cfg, folder, cfg.drop_path_rate)
    with DefaultScope.overwrite_default_scope("mmseg"):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
    return cfg, model


@pytest.mark.parametrize("encoder, factors", [(SMALL, [2.0]), ({"name": "resnet10t", "kwargs": {}}, [2.0, 2.0])])
def test_the_head_reaches_full_resolution(encoder, factors, tmp_path):
    _, model = bound(encoder, tmp_path / "encoder")
    assert model.decode_head.bilinear_factors == factors
    with torch.no_grad():
        assert model.decode_head(model.eval().backbone(torch.zeros(1, 3, 96, 64))).shape == (1, 1, 96, 64)


def test_a_step_and_a_test_image(nyuv2, tmp_path):
    cfg, model = bound(SMALL, tmp_path / "encoder", **{"data.root": str(nyuv2)})
    with DefaultScope.overwrite_default_scope("mmseg"):
        train, test = (DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.test_dataloader))
        evaluator = Evaluator(cfg.test_evaluator)
    samples = [train[k] for k in range(2)]
    assert all(s["inputs"].shape == (3, 480, 480) for s in samples)
    assert all(s["data_samples"].gt_depth_map.data.shape == (1, 480, 480) for s in samples)
    model(**model.data_preprocessor(pseudo_collate(samples), True), mode="loss")["decode.loss_silog"].backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]

    # Two windows, columns 0:480 and 160:640, each averaged with its mirror image, and their overlap averaged.
    model.eval()
    widths, whole = [], model.encode_decode
    model.encode_decode = lambda inputs, metas: widths.append(tuple(inputs.shape[-2:])) or whole(inputs, metas)
    (out,) = model.test_step(pseudo_collate([test[0]]))
    assert widths == [(480, 480)] * 4
    with torch.no_grad():
        x = model.data_preprocessor(pseudo_collate([test[0]]), False)["inputs"]
        one = [(model.decode_head(model.backbone(w)) + model.decode_head(model.backbone(w.flip(3))).flip(3)) / 2
               for w in (x[..., :480], x[..., 160:])]  # fmt: skip
    expected = torch.cat([one[0][..., :160], (one[0][..., 160:] + one[1][..., :320]) / 2, one[1][..., 320:]], dim=-1)
    torch.testing.assert_close(out.pred_depth_map.data[None], expected)

    evaluator.process([out], None)
    found = evaluator.evaluate(1)
    truth = np.array(Image.open(nyuv2 / "depth/test/room/0.png"))[45:471, 41:601] / 1000
    by_hand = depth_errors(expected[0, 0, 45:471, 41:601].numpy().ravel(), truth.ravel())
    assert found["rmse"] == pytest.approx(by_hand["rmse"], rel=1e-5)
    assert found["rmse_pooled"] == pytest.approx(by_hand["rmse"], rel=1e-5)


def test_the_published_form_only_scales_images_to_one(nyuv2, tmp_path):
    """Scale paper-raw: a protocol id of its own, the same recipe, and inputs in [0, 1] whatever the encoder knew."""
    plain, raw = (load_config("depth/configs/mae.py", scale=scale) for scale in ("paper", "paper-raw"))
    assert raw.protocol == "nyuv2-depth-480-paper-raw-v1" and raw.checkpoint == plain.checkpoint
    assert raw.work_dir == "runs/paper-raw/depth/mae/seed0"
    differs = {key for key in {*plain, *raw} if plain.get(key) != raw.get(key)}
    assert differs == {"image_constants", "model", "pretrain_scale", "protocol", "scale", "work_dir", "config_hash"}
    raw.model.data_preprocessor.update(mean="<encoder>", std="<encoder>")
    assert raw.model == plain.model

    cfg, model = bound(SMALL, tmp_path / "encoder", scale="paper-raw", **{"data.root": str(nyuv2)})
    with DefaultScope.overwrite_default_scope("mmseg"):
        test, train = (DATASETS.build(loader.dataset) for loader in (cfg.test_dataloader, cfg.train_dataloader))
    image = torch.from_numpy(np.array(Image.open(nyuv2 / "images/test/room/0.jpg"))).permute(2, 0, 1)  # RGB
    found = model.data_preprocessor(pseudo_collate([test[0]]), False)["inputs"]
    torch.testing.assert_close(found[0], image / 255, atol=2.5 / 255, rtol=0)  # two decoders of JPEG
    _, own = bound(SMALL, tmp_path / "own", **{"data.root": str(nyuv2)})
    known = own.data_preprocessor(pseudo_collate([test[0]]), False)["inputs"]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
    torch.testing.assert_close(known[0], (found[0] - mean) / std)
    batch = model.data_preprocessor(pseudo_collate([train[0], train[1]]), True)
    loss = model(**batch, mode="loss")["decode.loss_silog"]
    loss.backward()
    assert loss.isfinite()


def test_missing_data_is_one_sentence(tmp_path):
    cfg = load_config("depth/configs/mae.py", scale="paper", options={"data.root": str(tmp_path / "nyuv2")})
    with DefaultScope.overwrite_default_scope("mmseg"), pytest.raises(UserError) as error:
        DATASETS.build(cfg.train_dataloader.dataset)
    assert "nyuv2/images/train: no such folder; put the data there" in str(error.value)
