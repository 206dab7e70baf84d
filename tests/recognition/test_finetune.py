"""Fine-tuning and the probes of scale "paper": recipes, whole configs, steps on ImageNet's layout, and a whole run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, FUNCTIONS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS
from PIL import Image

from backbones import build_encoder, fill_encoder_parts, save_checkpoint
from engine.errors import UserError
from recognition.finetune import Accuracy, LabelledFolder, fill
from recognition.measures import Answer, accuracies
from study.configure import load_config
from tests.backbones.conftest import meta_of

CONFIG = "recognition/configs/{}.py"
SMALL = {"name": "vit_base_patch16_224", "kwargs": {"embed_dim": 24, "num_heads": 2}}  # all of ViT-B's twelve blocks
TINY = {"name": "vit_tiny_patch16_224",
        "kwargs": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}}  # fmt: skip
# rate, batch, decay, drop-path, epochs of warm-up, pooling: the table of the sources, row by row
ROWS = {
    "mae": (2e-3, 1024, 0.65, 0.1, 5, "mean"),
    "beit": (4e-3, 1024, 0.65, 0.1, 20, "mean"),
    "cae": (8e-3, 4096, 0.65, 0.1, 5, "mean"),
    "fd": (5e-3, 2048, 0.6, 0.3, 20, "mean"),
    "slip": (4e-3, 1024, 0.65, 0.1, 20, "own"),
    "maskclip": (4e-3, 1024, 0.65, 0.1, 20, "own"),
    "dino": (2e-3, 1024, 0.65, 0.1, 5, "own"),
    "somebody_elses": (2e-3, 1024, 0.65, 0.1, 5, "own"),
}


def checkpoint(folder, encoder=SMALL, method="mae"):
    torch.manual_seed(0)
    meta = meta_of(encoder)
    meta["image"]["size"] = encoder["kwargs"].get("img_size", 224)
    save_checkpoint(folder, build_encoder(**encoder), {**meta, "method": method})
    return str(folder)


def write_classes(root, splits, names, count, size):
    """A folder per class for each split: noise around a grey level of the class."""
    rng = np.random.default_rng(0)
    for split in splits:
        for number, name in enumerate(names):
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                level = 40 + 170 * number / (len(names) - 1)
                image = np.clip(rng.normal(level, 25, (*size, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(image).save(root / split / name / f"{k}.JPEG")
    return root


def rates(cfg, steps):
    """The rate of a group of full rate before each of the iterations `steps`."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build({**s, "optimizer": optimizer}) for s in cfg.param_scheduler]
    found = {}
    for step in range(max(steps) + 1):
        if step in steps:
            found[step] = optimizer.param_groups[0]["lr"]
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.parametrize("method", ROWS)
def test_the_published_rows(method, tmp_path):
    rate, batch, decay, drop_path, warm_up, pool = ROWS[method]
    cfg = load_config(CONFIG.format("finetune"), scale="paper", checkpoint=checkpoint(tmp_path / "c", TINY, method))
    assert (cfg.method, cfg.protocol) == (method, "imagenet-finetune-224-paper-v1")
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(
        type="AdamW", lr=rate, betas=(0.9, 0.999), weight_decay=0.05, fused=True
    )
    assert cfg.train_dataloader.batch_size == cfg.global_batch_size == batch
    assert cfg.train_cfg.max_iters * batch == pytest.approx(100 * 1_281_167, abs=batch)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay == decay and cfg.optim_wrapper.clip_grad is None
    assert (cfg.drop_path_rate, cfg.model.backbone.pool) == (drop_path, pool)
    assert cfg.model.backbone.get("relative_bias") == ((224, 224) if method == "cae" else None)
    model = cfg.model
    assert (model.mixup, model.cutmix, model.smoothing, model.erasing, model.head) == (0.8, 1.0, 0.1, 0.25, "fresh")
    transform = cfg.train_dataloader.dataset.transform
    assert transform.auto_augment == "rand-m9-mstd0.5-inc1" and transform.interpolation == "bicubic"
    assert cfg.test_dataloader.dataset.short == 256 and tuple(cfg.data.size) == (224, 224)
    rise = int(warm_up * 1_281_167 / batch)
    linear, cosine = cfg.param_scheduler
    assert (linear.end - 1, cosine.begin, cosine.end) == (rise, rise, cfg.train_cfg.max_iters)
    assert cosine.eta_min_ratio * rate == pytest.approx(1e-6)


def test_the_rate_of_fine_tuning_at_its_corners(tmp_path):
    options = {"train_cfg.max_iters": 2000, "param_scheduler.0.end": 101, "param_scheduler.1.begin": 100}
    cfg = load_config(
        CONFIG.format("finetune"), scale="paper", checkpoint=checkpoint(tmp_path / "c", TINY), options=options
    )
    found = rates(cfg, (0, 50, 100, 1050, 2000))
    expected = {0: 2e-9, 50: 1e-3, 100: 2e-3, 1050: (2e-3 + 1e-6) / 2, 2000: 1e-6}
    assert found == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(("kind", "batch", "rate", "optimizer"), [("linear", 16384, 6.4, "lars"),
                                                                  ("attentive", 8192, 0.4, "sgd")])  # fmt: skip
def test_the_probes_at_scale_paper(kind, batch, rate, optimizer, tmp_path):
    cfg = load_config(CONFIG.format(f"{kind}_probe"), scale="paper", checkpoint=checkpoint(tmp_path / "c", TINY))
    assert (cfg.protocol, cfg.head) == (f"imagenet-{kind}-probe-224-paper-v1", f"{kind} probe")
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.train_cfg.max_iters * batch == pytest.approx(90 * 1_281_167, abs=batch)
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(type=optimizer, lr=rate)
    assert cfg.model.backbone.frozen and cfg.model.head == kind
    transform = cfg.train_dataloader.dataset.transform.to_dict()
    assert transform == dict(scale=(0.08, 1.0), hflip=0.5, color_jitter=None, interpolation="bicubic")
    assert "smoothing" not in cfg.model and "mixup" not in cfg.model
    last, rise = cfg.train_cfg.max_iters, int(10 * 1_281_167 / batch)
    found = rates(cfg, (0, rise // 2, rise, last))
    assert found[0] < 1e-5 and found[rise] == pytest.approx(rate) and found[last] == pytest.approx(0, abs=1e-4)
    assert found[rise // 2] == pytest.approx(rate / 2, rel=0.01)


@pytest.mark.parametrize("task", ["finetune", "linear_probe", "attentive_probe"])
def test_a_step_and_a_test_on_imagenets_layout(task, tmp_path):
    root = write_classes(tmp_path / "imagenet", ("train", "val"), ("n01440764", "n01443537", "n01484850"), 2, (70, 90))
    data = {"data.root": str(root), "data.train": str(root / "train"), "data.test": str(root / "val")}
    small = {"data.size": (64, 64), "test_dataloader.dataset.short": 73, "global_batch_size": 6}
    folder = checkpoint(tmp_path / "c")
    cfg = load_config(CONFIG.format(task), scale="paper", checkpoint=folder, options={**data, **small})
    meta = fill_encoder_parts(cfg, folder, cfg.get("drop_path_rate"))
    fill(cfg, meta)
    assert cfg.model.num_classes == 3
    model = MODELS.build(cfg.model)
    model.init_weights()
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.get(cfg.optim_wrapper.pop("constructor"))
    wrapper = constructor(cfg.optim_wrapper, cfg.optim_wrapper.pop("paramwise_cfg", None))(model)
    frozen = {name: value.clone() for name, value in model.backbone.encoder.state_dict().items()}
    collate = FUNCTIONS.get("default_collate")
    train, test = (DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.test_dataloader))
    batch = collate([train[k] for k in range(6)])
    assert batch["inputs"].shape == (6, 3, 64, 64) and batch["inputs"].dtype == torch.uint8
    model.train()
    losses = model.train_step(batch, wrapper)
    assert torch.isfinite(losses["loss"]) and ("accuracy" in losses) == (task != "finetune")
    unchanged = all(torch.equal(value, frozen[name]) for name, value in model.backbone.encoder.state_dict().items())
    assert unchanged == (task != "finetune")
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == ({"backbone", "head"} if task == "finetune" else {"head"})
    assert model.backbone.encoder.training == (task == "finetune")
    model.eval()
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = test.metainfo
    with torch.no_grad():
        outputs = model.test_step(collate([test[k] for k in range(6)]))
    evaluator.process(outputs)
    measured = evaluator.evaluate(6)
    assert {spec.source for spec in cfg.metrics.values()} <= set(measured)
    assert measured["top1_chance"] == pytest.approx(1 / 3)


def test_the_fresh_head_starts_small(tmp_path):
    backbone = dict(type="PooledEncoder", checkpoint=checkpoint(tmp_path / "c", TINY), pool="mean")
    model = MODELS.build(dict(type="ImageClassifier", backbone=backbone, num_classes=50))
    assert 1e-5 < float(model.head.weight.std()) < 3e-5 and model.head.bias.abs().max() == 0


def test_accuracy_is_that_of_the_tests():
    generator = torch.Generator().manual_seed(0)
    nearest = torch.stack([torch.randperm(7, generator=generator)[:5] for _ in range(40)])
    truth = torch.randint(7, (40,), generator=generator)
    metric = Accuracy()
    metric.dataset_meta = {"classes": list("abcdefg")}
    metric.process({}, [{"nearest": n, "label": t} for n, t in zip(nearest, truth, strict=True)])
    found = metric.evaluate(40)
    for measure in accuracies([Answer(nearest, truth, 7)]):
        assert found[measure.name] == pytest.approx(measure.value / 100)
        assert found[f"{measure.name}_low"] == pytest.approx(measure.low / 100)
        assert found[f"{measure.name}_high"] == pytest.approx(measure.high / 100)
        assert found[f"{measure.name}_chance"] == pytest.approx(measure.chance / 100)
    assert found["top1"] == pytest.approx(float((nearest[:, 0] == truth).float().mean()))


def test_test_images_are_resized_then_cut(tmp_path):
    root = write_classes(tmp_path, ("test",), ("a", "b"), 1, (50, 80))
    item = LabelledFolder(root / "test", 28, short=32)[1]
    assert item["data_samples"] == 1 and item["inputs"].shape == (3, 28, 28)
    with Image.open(root / "test/b/0.JPEG") as image:
        resized = np.asarray(image.resize((51, 32), Image.Resampling.BICUBIC)).astype(int)
    difference = np.abs(item["inputs"].permute(1, 2, 0).numpy() - resized[2:30, 12:40])
    assert difference.mean() < 2, "short side to 32, then the centre"


def test_a_whole_run_and_its_record(tmp_path):
    from study.run import run

    root = write_classes(tmp_path / "levels", ("train", "test"), ("dark", "light"), 8, (32, 32))
    overlay = tmp_path / "levels.py"
    overlay.write_text(
        f"data = dict(name='levels', kind='image_folder', root={str(root)!r}, train={str(root / 'train')!r}, "
        f"test={str(root / 'test')!r})\n"
    )
    records, folder = [], checkpoint(tmp_path / "c", TINY)
    for name in ("first", "second"):
        options = {"train_cfg.max_iters": 40, "train_dataloader.batch_size": 8, "optim_wrapper.optimizer.lr": 3e-3}
        cfg = load_config(
            CONFIG.format("finetune"), checkpoint=folder, data=str(overlay), work_dir=str(tmp_path / name),
            options=options,
        )  # fmt: skip
        run(cfg, "test")
        records.append(json.loads((tmp_path / name / "result.json").read_text()))
    first, second = records
    assert (first["task"], first["method"], first["protocol"]) == ("finetune", "mae", "levels-finetune-tiny-v1")
    top1 = first["metrics"]["top1"]
    assert top1["primary"] and top1["chance"] == 50 and top1["low"] <= top1["value"] <= top1["high"]
    assert top1["value"] > 90, "dark and light are easy to tell apart"
    assert first["metrics"] == second["metrics"], "a run repeats itself"
    assert first["settings"]["train_images"] == 16 and first["cost"]["flops"] > 0
    assert {"model.safetensors", "ledger.json", "run.json", "curve.jsonl"} <= {
        p.name for p in (tmp_path / "first").iterdir()
    }


def test_bad_input_is_one_sentence(tmp_path):
    folder = checkpoint(tmp_path / "c", TINY)
    with pytest.raises(UserError, match=r"finetune.py serves the encoders of all methods: name one with --encoder"):
        load_config(CONFIG.format("finetune"))
    with pytest.raises(UserError, match=r"nowhere does not exist"):
        load_config(CONFIG.format("finetune"), checkpoint=str(tmp_path / "nowhere"))
    write_classes(tmp_path, ("train",), ("a", "b"), 1, (8, 8))
    write_classes(tmp_path, ("test",), ("a", "c"), 1, (8, 8))
    options = {"data.train": f"{tmp_path}/train", "data.val": f"{tmp_path}/test", "data.test": f"{tmp_path}/test"}
    cfg = load_config(CONFIG.format("finetune"), checkpoint=folder, options=options)
    with pytest.raises(UserError, match="have other class folders: make them the same"):
        fill(cfg, {"image": {"size": 32}})
    same = dict.fromkeys(options, f"{tmp_path}/train")
    for size, given in ((32, None), (48, (48, 48))):
        options = {**same, **({"data.size": given} if given else {})}
        cfg = load_config(CONFIG.format("finetune"), checkpoint=folder, options=options)
        fill(cfg, {"image": {"size": 32}})
        loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
        assert {loader.dataset.size for loader in loaders} == {size} and cfg.data.get("size") == given
    cfg = load_config(CONFIG.format("finetune"), checkpoint=folder, options={**same, "data.size": (32, 48)})
    with pytest.raises(UserError, match=r"images of classifiers are square, size=\(224, 224\), not \(32, 48\)"):
        fill(cfg, {"image": {"size": 32}})
    (tmp_path / "data.py").write_text("data = 3")
    for arguments, message in (
        (dict(seed=-1), "seed -1 is not within"), (dict(data=str(tmp_path / "data.py")), "has no `data = dict"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            load_config(CONFIG.format("finetune"), checkpoint=folder, **arguments)


def test_the_methods_own_checkpoint_names_the_study_cell(tmp_path, monkeypatch):
    own = checkpoint(tmp_path / "runs/tiny/pretrain/dino/seed1/checkpoint", TINY, "dino")
    path = str(Path(CONFIG.format("finetune")).resolve())
    monkeypatch.chdir(tmp_path)
    assert load_config(path, seed=1, checkpoint=own).work_dir == "runs/tiny/finetune/dino/seed1"
    assert load_config(path, seed=0, checkpoint=own).work_dir.startswith("runs/tiny/finetune/dino/seed0-")
