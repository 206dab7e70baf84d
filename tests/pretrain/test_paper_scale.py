"""Scale "paper": the published numbers, and models that can be built from them."""

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from PIL import Image
from torch import nn

from backbones import build_encoder, describe_encoder
from backbones.text import TextTower
from engine.errors import UserError
from pretrain.data.augment import Window
from pretrain.data.dataset import PretrainDataset
from study.configure import load_config
from tests.pretrain.parents import write_parent

IMAGENET, YFCC = 1_281_167, 15_255_632
# method -> images of an epoch, epochs, warm-up epochs, batch, peak rate, decay, last rate, side data
RECIPES = {
    "clip": (YFCC, 25, 1, 4096, 5e-4, 0.5, 1e-5),
    "clip_aligned": (YFCC, 25, 1, 4096, 5e-4, 0.5, 1e-5),
    "maskclip": (YFCC, 25, 1, 4096, 5e-4, 0.5, 1e-5),
    "mae": (IMAGENET, 1600, 40, 4096, 2.4e-3, 0.05, 0.0),
    "supervised": (IMAGENET, 300, 5, 1024, 1e-3, 0.05, 1e-5),
    "fd": (IMAGENET, 300, 10, 2048, 1.2e-3, 0.05, 2e-5),
    "wsp": (YFCC, 1, 0.05, 4096, 5e-4, 0.1, 0.0),
}


@pytest.mark.parametrize("method", RECIPES)
def test_recipe(method):
    cfg = load_config(f"pretrain/configs/{method}.py", scale="paper")
    images, epochs, warm_up, batch, rate, decay, last = RECIPES[method]
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.train_cfg.max_iters == pytest.approx(epochs * images / batch, abs=1)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (pytest.approx(rate), decay)
    ramp, cosine = cfg.param_scheduler
    assert ramp.type == "LinearLR" and ramp.end == cosine.begin == pytest.approx(warm_up * images / batch, abs=1)
    assert cosine.type == "CosineAnnealingLR" and cosine.eta_min == pytest.approx(last)
    assert cosine.end == cfg.train_cfg.max_iters and cosine.T_max == cosine.end - cosine.begin
    assert cfg.data.name == ("imagenet" if images == IMAGENET else "yfcc15m") and "scenes_root" not in cfg.data
    assert cfg.train_dataloader.dataset.size == 224
    assert cfg.work_dir == f"runs/paper/pretrain/{method}/seed0", "where fine-tuning and second stages look"


# torchvision's RandomResizedCrop, plain in the code of SLIP, LaCLIP, DeCLIP, MoCo v3 and FD, is bilinear
FILTERS = {
    "clip": "bilinear", "clip_rewritten": "bilinear", "slip": "bilinear", "maskclip": "bilinear", "moco_v3": "bilinear",
    "fd": "bilinear", "declip": "bilinear", "mae": "bicubic", "dino": "bicubic", "datacompdr": "bicubic",
    "beit": "bicubic", "cae": "bicubic",
}  # fmt: skip


@pytest.mark.parametrize("method", FILTERS)
def test_crops_are_filtered_as_published(method):
    """Each view of the paper's scale is, to the last bit, the window that Pillow resizes with the published filter."""
    cfg = load_config(f"pretrain/configs/{method}.py", scale="paper").train_dataloader.dataset.to_dict()
    names = ("size", "views", "interpolation")
    data = PretrainDataset(**{name: cfg[name] for name in names if name in cfg})
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    pillow = Image.Resampling[FILTERS[method].upper()]
    for name in (name for name in data.views if name.startswith("image")):
        view = data.views[name]
        view.colour, side = None, view.crop.size
        expected = Image.fromarray(image[20:150, 30:190]).resize((side, side), pillow)
        found = view.at(image, Window(20, 30, 130, 160, False))
        assert np.array_equal(found.permute(1, 2, 0).numpy(), np.asarray(expected)), name


def test_supervised_repeats_its_augmentation():
    """DeiT's --repeated-aug, on by default: an image comes three times in a row."""
    assert load_config("pretrain/configs/supervised.py", scale="paper").train_cfg.repeats == 3
    assert "repeats" not in load_config("pretrain/configs/supervised.py").train_cfg


def build_on_meta(encoder):
    with torch.device("meta"):
        return build_encoder(**encoder)


@pytest.mark.parametrize("method", [*RECIPES, "random"])
def test_model_is_a_vit_b_16(method, tmp_path):
    cfg = load_config(f"pretrain/configs/{method}.py", scale="paper")
    if method in ("supervised", "wsp"):
        cfg.model.num_classes = 1000
    assert describe_encoder(build_on_meta(cfg.model.encoder)).depth == 12
    assert cfg.model.encoder.kwargs.get("drop_path_rate", 0.0) == {"fd": 0.2, "supervised": 0.1}.get(method, 0.0)
    cfg.model.encoder.kwargs.depth = 1  # the rest of the model, for real, but with fewer blocks
    if "text" in cfg.model:
        cfg.model.text.layers = 1
    if method == "mae":
        cfg.model.decoder_depth = 1
    if method == "fd":
        large = {"name": "vit_base_patch16_224", "kwargs": {"depth": 1}}
        cfg.model.teacher = str(write_parent(tmp_path / "teacher", "clip", large))
    encoder = MODELS.build(cfg.model).encoder
    assert encoder.embed_dim == 768 and encoder.patch_embed.grid_size == (14, 14)
    if method == "fd":
        assert encoder.pos_embed is None and encoder.rel_pos_bias is not None and encoder.norm.weight.shape == (768,)


@pytest.mark.parametrize("method", ["clip", "clip_rewritten", "clip_mixed", "slip", "declip", "maskclip", "datacompdr"])
def test_every_norm_of_the_text_tower_has_clips_epsilon(method):
    """1e-5, torch's own, in the towers of OpenAI, SLIP and open_clip."""
    text = load_config(f"pretrain/configs/{method}.py", scale="paper").model.text
    tower = TextTower(**{**text, "layers": 2})
    assert {module.eps for module in tower.modules() if isinstance(module, nn.LayerNorm)} == {1e-5}


@pytest.mark.parametrize("method", ["mae", "maskclip"])
def test_every_norm_of_the_visual_decoder_has_the_published_epsilon(method):
    cfg = load_config(f"pretrain/configs/{method}.py", scale="paper")
    cfg.model.encoder.kwargs.depth = 1
    if method == "maskclip":
        cfg.model.text.layers = cfg.model.mlm.depth = 1
    parts = MODELS.build(cfg.model)
    text = {"text": 1e-5, "mlm": 1e-5}  # CLIP's; everything that sees pixels has the ViT's
    seen = set()
    for name, module in parts.named_modules():
        if isinstance(module, nn.LayerNorm):
            part = name.split(".")[0]
            seen.add(part.split("_")[0])
            assert module.eps == text.get(part, 1e-6), name
    assert {"encoder", "decoder"} <= seen and ("mlm" in seen) == (method == "maskclip")


def test_deit_augments_and_mixes():
    cfg = load_config("pretrain/configs/supervised.py", scale="paper")
    assert (cfg.model.mixup, cfg.model.cutmix, cfg.model.erasing, cfg.model.smoothing) == (0.8, 1.0, 0.25, 0.1)
    assert cfg.train_dataloader.dataset.transform.auto_augment.startswith("rand-m9-mstd0.5")


def test_maskclip_is_the_published_one():
    model = load_config("pretrain/configs/maskclip.py", scale="paper").model
    assert tuple(model.momentum) == (0.999, 0.9999) and model.mlm.depth == 4
    assert model.quantizer.to_dict() == {"hidden": 2048, "bottleneck": 256, "codes": 8192}


def test_the_oracle_has_no_such_scale():
    with pytest.raises(UserError, match=r"oracle.py has no scale 'paper': its labels, .* the embedded scenes alone"):
        load_config("pretrain/configs/oracle.py", scale="paper")
