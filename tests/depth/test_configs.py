"""The depth configs, from file to a model that trains and predicts on real files."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, DefaultScope
from mmseg.registry import MODELS
from PIL import Image

from backbones import build_encoder, fill_encoder_parts, save_checkpoint
from study.configure import load_config

CONFIGS = Path(__file__).parents[2] / "depth/configs"
METHODS = sorted(path.stem for path in Path("pretrain/configs").glob("*.py"))
ENCODERS = {
    "vit": ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 2}),
    "resnet": ("resnet10t", {}),
}


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for k in range(4):
            image, depth = tmp_path / f"images/{split}/{k}.png", tmp_path / f"depth/{split}/{k}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            depth.parent.mkdir(parents=True, exist_ok=True)
            near = rng.integers(500, 4000, (40, 48))
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(image)
            Image.fromarray(near.astype(np.uint16)).save(depth)
    return tmp_path


def checkpoint(folder, kind):
    name, kwargs = ENCODERS[kind]
    torch.manual_seed(0)
    meta = {
        "method": "random", "captions": None, "seed": 0, "scale": "tiny", "encoder": {"name": name, "kwargs": kwargs},
        "image": {"mean": [0.5] * 3, "std": [0.25] * 3, "size": 32}, "data": {"name": "none", "samples": 0},
        "samples_seen": 0, "updates": 0, "config_hash": "0" * 64, "code_version": "test", "parent": None,
        "cost": {"wall_s": 0.0, "samples_per_s": None, "peak_memory_mib": None, "hardware": "cpu"},
        "ledger": None, "text": None,
    }  # fmt: skip
    save_checkpoint(folder, build_encoder(name, kwargs), meta)
    return folder


def setup(data, kind, **options):
    options = {"data.root": str(data), "data.name": "mine", "data.size": (32, 48), **options}
    cfg = load_config(CONFIGS / "random.py", checkpoint=str(checkpoint(data / "ckpt", kind)), options=options)
    fill_encoder_parts(cfg, cfg.checkpoint)
    with DefaultScope.overwrite_default_scope("mmseg"):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        train = DATASETS.build(cfg.train_dataloader.dataset)
        test = DATASETS.build(cfg.test_dataloader.dataset)
        evaluator = Evaluator(cfg.test_evaluator)
    return cfg, model, train, test, evaluator


@pytest.mark.parametrize("method", METHODS)
def test_one_file_serves_every_method(method):
    cfg = load_config(CONFIGS / "depth.py", encoder=method)
    assert (cfg.task, cfg.method, cfg.head) == ("depth", method, "DepthHead")
    assert cfg.protocol == "scenes-depth-64-tiny-v1" and cfg.work_dir == f"runs/tiny/depth/{method}/seed0"
    assert [name for name, spec in cfg.metrics.items() if spec.get("primary")] == ["rmse"]
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
    assert load_config(CONFIGS / f"{method}.py").to_dict() == cfg.to_dict(), "the name that records of any age know"


def test_written_out_files_are_few():
    assert {path.stem for path in CONFIGS.glob("*.py")} == {"depth", "clip", "maskclip", "mae", "cae"}


def test_scales_differ_only_in_what_they_state():
    for scale in ("tiny", "study"):
        stated = runpy.run_path(str(CONFIGS / f"_base_/scale_{scale}.py"))
        cfg = load_config(CONFIGS / "mae.py", scale=scale)
        assert cfg.train_cfg.max_iters == stated["train_cfg"]["max_iters"]
        assert cfg.model.decode_head.embed_dim == stated["model"]["decode_head"]["embed_dim"]


@pytest.mark.parametrize("kind", ENCODERS)
def test_trains_and_evaluates_on_every_kind_of_encoder(data, kind):
    cfg, model, train, test, evaluator = setup(data, kind, **{"train_cfg.max_iters": 3})
    stride = {"vit": 8, "resnet": 32}[kind]
    assert model.decode_head.feature_stride == stride
    assert model.decode_head.in_channels == model.backbone.out_channels[-1]
    batch = pseudo_collate([train[i] for i in range(4)])
    loss = model(**model.data_preprocessor(batch, True), mode="loss")["decode.loss_silog"]
    loss.backward()
    lonely = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not lonely
    model.eval()
    outputs = model.test_step(pseudo_collate([test[i] for i in range(4)]))
    evaluator.process(outputs, None)
    metrics = evaluator.evaluate(4)
    assert {spec.source for spec in cfg.metrics.values()} <= set(metrics)
    truth = np.array(Image.open(data / "depth/test/2.png")) / 1000
    assert outputs[2].pred_depth_map.data.shape == (1, 40, 48)  # the file's size, not the network's
    np.testing.assert_allclose(outputs[2].gt_depth_map.data[0].numpy(), truth, rtol=1e-6)


def test_reads_the_last_block_at_the_stride_of_a_patch(data):
    _, model, *_ = setup(data, "vit")
    backbone = model.backbone.eval()
    x = torch.randn(2, 3, 32, 32)
    depth_map = backbone(x)[model.decode_head.in_index]
    encoder = backbone.encoder
    tokens = encoder.norm_pre(encoder.patch_drop(encoder._pos_embed(encoder.patch_embed(x))))
    for block in encoder.blocks:
        tokens = block(tokens)
    expected = tokens[:, 1:].transpose(1, 2).reshape(2, 24, 4, 4)  # [B, N, d] -> [B, d, h, w]
    torch.testing.assert_close(depth_map, expected)
    assert backbone(torch.randn(1, 3, 33, 47))[-1].shape == (1, 24, 5, 6)


def test_learns_a_depth_that_the_image_shows(data):
    # Brightness is depth: twenty steps are enough to beat the first prediction by far.
    for split in ("train", "test"):
        for k in range(4):
            level = np.full((40, 48), 40 + 50 * k)
            Image.fromarray(np.repeat(level[..., None], 3, -1).astype(np.uint8)).save(data / f"images/{split}/{k}.png")
            Image.fromarray((level * 20).astype(np.uint16)).save(data / f"depth/{split}/{k}.png")
    _, model, train, test, evaluator = setup(data, "vit")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        batch = model.data_preprocessor(pseudo_collate([train[i] for i in range(4)]), True)
        loss = model(**batch, mode="loss")["decode.loss_silog"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
