"""From measured values to a record that the report's strict writer accepts."""

import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from engine.errors import UserError
from engine.resume import ResumeHook
from reports.records import read_record, write_record
from study.configure import load_config
from study.record import failed_record, pick_metrics, result_record

DECLARED = {
    "box_AP": dict(source="coco/bbox_mAP", unit="%", direction="up", primary=True, factor=100),
    "mask_AP": dict(source="coco/segm_mAP", unit="%", direction="up", factor=100),
}
AP = {f"coco/{kind}_mAP{part}": 0.123 for kind in ("bbox", "segm") for part in ("", "_50", "_75", "_s", "_m", "_l")}
CONFIGS = {
    "upernet": ("seg_configs/upernet_{}.py", {"mIoU": 41.25, "mAcc": 50.0, "aAcc": 80.0}),
    "semantic_fpn": ("seg_configs/semantic_fpn_{}.py", {"mIoU": 41.25, "mAcc": 50.0, "aAcc": 80.0}),
    "mask_rcnn": ("det_configs/mask_rcnn_{}.py", AP),
    "cascade_mask_rcnn": ("det_configs/cascade_mask_rcnn_{}.py", AP),
    "depth": ("depth/configs/{}.py", dict.fromkeys(("rmse", "abs_rel", "log10", "silog", "d1", "rmse_pooled"), 0.5)),
}


def meta_of(method="mae", captions=None):
    return {
        "method": method, "captions": captions, "encoder": {"name": "vit_tiny_patch16_224", "kwargs": {"depth": 4}},
        "image": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "size": 64}, "scale": "tiny",
        "sha256": {"encoder.safetensors": "ab" * 32}, "updates": 1500, "samples_seen": 96000, "parent": None,
        "data": {"name": "scenes", "samples": 64000},
        "cost": {"wall_s": 200.5, "samples_per_s": 480.0, "peak_memory_mib": 700.0, "hardware": None},
    }  # fmt: skip


def runner_of(train_images=128, wall=10.0, processes=1):
    hook = ResumeHook(200)
    hook.wall_before, hook.started = wall, time.perf_counter()
    loader = SimpleNamespace(dataset=range(train_images))
    return SimpleNamespace(model=nn.Linear(3, 5), hooks=[hook], world_size=processes, train_dataloader=loader)


def record_of(task, method="mae", captions=None, work_dir="nowhere", options=None, wall=10.0, seed=2):
    path, measured = CONFIGS[task]
    cfg = load_config(path.format(method), seed=seed, work_dir=str(work_dir), options=options)
    meta, runner = meta_of(method, captions), runner_of(wall=wall)
    return cfg, result_record(cfg, meta, runner, measured, 1e9, "python tools/train.py x")


def test_metrics_in_declared_order_and_unit():
    measured = {"coco/segm_mAP": 0.1, "other": math.nan, "coco/bbox_mAP": np.float64(0.2345)}
    picked = pick_metrics(DECLARED, measured, "runs/x")
    assert list(picked) == ["box_AP", "mask_AP"]
    assert picked["box_AP"] == {"value": 23.45, "unit": "%", "direction": "up", "primary": True}
    assert picked["mask_AP"] == {"value": 10.0, "unit": "%", "direction": "up", "primary": False}
    assert type(picked["box_AP"]["value"]) is float
    assert pick_metrics(DECLARED, dict.fromkeys(measured, 0), "x")["box_AP"]["value"] == 0, "zero is a value"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None, torch.tensor(math.nan)])
def test_a_metric_that_is_no_number_is_refused(bad):
    with pytest.raises(UserError, match="runs/x: metric mask_AP came out as .*; see curve.jsonl"):
        pick_metrics(DECLARED, {"coco/bbox_mAP": 0.2, "coco/segm_mAP": bad}, "runs/x")


def test_what_there_is_none_of_is_no_metric():
    """COCO's AP is -1 where no object is of that size."""
    declared = DECLARED | {"box_AP_small": dict(source="coco/bbox_mAP_s", unit="%", direction="up", absent=-1)}
    measured = {"coco/bbox_mAP": 0.2, "coco/segm_mAP": 0.1, "coco/bbox_mAP_s": -1.0}
    assert list(pick_metrics(declared, measured, "x")) == ["box_AP", "mask_AP"]


def test_a_missing_metric_is_refused():
    with pytest.raises(UserError, match="metric mask_AP came out as None"):
        pick_metrics(DECLARED, {"coco/bbox_mAP": 0.2}, "runs/x")


@pytest.mark.parametrize("task", CONFIGS)
def test_a_whole_record_passes_the_strict_writer(task, tmp_path):
    (tmp_path / "samples").mkdir()
    for name in ("image", "truth", "prediction"):
        (tmp_path / f"samples/0_{name}.png").write_bytes(b"png")
    cfg, record = record_of(task, "maskclip", "noisy", work_dir=tmp_path)
    assert read_record(write_record(tmp_path, record)) == record
    assert (record["task"], record["status"], record["role"], record["split"]) == (task, "ok", "final", "test")
    assert record["protocol"] == f"scenes-{task.replace('_', '-')}-64-tiny-v1" and record["seed"] == 2
    assert (record["method_name"], record["captions"], record["reference_kind"]) == ("MaskCLIP", "noisy", None)
    assert (record["name"], record["source"], record["family"]) == ("MaskCLIP", None, "clip")
    assert record["checkpoint"] == {"sha256": "ab" * 32, "encoder": meta_of()["encoder"]}
    assert record["budget"] == {"pretrain_updates": 1500, "pretrain_samples": 96000,
                                "pretrain_data": {"name": "scenes", "samples": 64000},
                                "pretrain_scale": "tiny"}  # fmt: skip
    assert record["config_hash"] == cfg.config_hash and len(record["samples"]) == 1
    limits = {"mask_rcnn": (20, 50), "cascade_mask_rcnn": (20, 50)}.get(task, (None, None))
    assert record["settings"] == {
        "lr": cfg.optim_wrapper.optimizer.lr, "layer_decay": 0.65, "train_images": 128,
        "iterations": cfg.train_cfg.max_iters, "global_batch": 8, "processes": 1, "precision": "float32",
        "input_size": [64, 64], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1],
        **dict(zip(("detections", "proposals"), limits, strict=True)), "options": [],
    }  # fmt: skip


def test_costs():
    cfg, record = record_of("depth", wall=10.0)
    cost = record["cost"]
    assert (cost["pretrain_wall_s"], cost["pretrain_samples_per_s"]) == (200.5, 480.0)
    assert cost["finetune_wall_s"] == pytest.approx(10, abs=2)
    assert cost["finetune_samples_per_s"] == pytest.approx(cfg.train_cfg.max_iters * 8 / 10, rel=0.2)
    two = result_record(cfg, meta_of(), runner_of(processes=2), CONFIGS["depth"][1], None, "x")["cost"]
    assert two["finetune_samples_per_s"] == pytest.approx(2 * cost["finetune_samples_per_s"], rel=0.2)
    assert cost["parameters"] == 3 * 5 + 5 and cost["flops"] == 1e9 and cost["peak_memory_mib"] > 10


def test_a_trial_is_a_trial_on_validation_images(tmp_path):
    _, record = record_of("upernet", options={"role": "trial"})
    assert (record["role"], record["split"]) == ("trial", "val")
    write_record(tmp_path, record)


def test_selection_is_kept_plain(tmp_path):
    trials = [{"lr": 1e-3, "layer_decay": 0.65, "value": 0.5}, {"lr": 2e-3, "layer_decay": 0.65, "value": None}]
    selection = {"metric": "val rmse", "grid": {"lr": [1e-3, 2e-3], "layer_decay": [0.65]}, "trials": trials,
                 "chosen": {"lr": 1e-3, "layer_decay": 0.65}}  # fmt: skip
    _, record = record_of("depth", options={"selection": selection})
    assert read_record(write_record(tmp_path, record))["selection"] == selection


@pytest.mark.parametrize(
    "method, name, kind",
    [("random", "random initialisation", "floor"), ("oracle", "oracle (dense labels)", "ceiling"),
     ("clip_aligned", "CLIP", None), ("mae", "MAE", None)],
)  # fmt: skip
def test_floor_and_ceiling_are_references(method, name, kind, tmp_path):
    _, record = record_of("depth", method)
    assert (record["reference"], record["reference_kind"]) == (kind is not None, kind)
    assert record["method_name"] == name
    write_record(tmp_path, record)


def test_the_method_is_the_checkpoints_not_the_configs():
    """What was fine-tuned is what the folder holds."""
    path, measured = CONFIGS["depth"]
    record = result_record(load_config(path.format("mae")), meta_of("clip", "noisy"), runner_of(), measured, None, "x")
    assert (record["method"], record["captions"]) == ("clip", "noisy")


def test_a_method_without_a_name_of_its_own_keeps_its_id(tmp_path):
    cfg, measured = load_config("depth/configs/mae.py"), CONFIGS["depth"][1]
    record = result_record(cfg, meta_of("mine"), runner_of(), measured, None, "x")
    assert record["method_name"] == "mine"
    write_record(tmp_path, record)


@pytest.mark.parametrize("task", CONFIGS)
def test_a_failed_run_leaves_a_valid_record(task, tmp_path):
    cfg = load_config(CONFIGS[task][0].format("mae"), work_dir=str(tmp_path))
    record = failed_record(cfg, meta_of(), "UserError: loss stopped being finite", "python tools/train.py x")
    assert read_record(write_record(tmp_path, record)) == record
    assert record["status"] == "failed" and record["metrics"] == {} and record["cost"]["finetune_wall_s"] is None


def test_a_second_stage_names_the_stages_before_it(tmp_path):
    cfg, measured = load_config("depth/configs/wsp.py"), CONFIGS["depth"][1]
    first = {"method": "clip", "samples_seen": 100, "wall_s": None, "parent": None}
    second = {"method": "mae", "samples_seen": 640, "wall_s": 12.5, "parent": first}
    record = result_record(cfg, meta_of("wsp") | {"parent": second}, runner_of(), measured, None, "x")
    assert record["budget"]["earlier_stages"] == [{"method": "mae", "samples": 640, "wall_s": 12.5},
                                                  {"method": "clip", "samples": 100, "wall_s": None}]  # fmt: skip
    write_record(tmp_path, record)
    assert "earlier_stages" not in result_record(cfg, meta_of("wsp"), runner_of(), measured, None, "x")["budget"]


def test_a_method_without_a_row_of_the_catalogue_goes_by_its_id(tmp_path):
    cfg, measured = load_config("depth/configs/mae.py", work_dir=str(tmp_path)), CONFIGS["depth"][1]
    record = result_record(cfg, meta_of("mymethod"), runner_of(), measured, None, "x")
    assert (record["method"], record["method_name"], record["reference_kind"]) == ("mymethod", "mymethod", None)
    write_record(tmp_path, record)


def test_published_weights_go_by_their_name_and_say_what_is_known(tmp_path):
    cfg, measured = load_config("depth/configs/mae.py", work_dir=str(tmp_path)), CONFIGS["depth"][1]
    meta = meta_of("timm") | {"scale": "published", "updates": 0, "samples_seen": 0,
                              "data": {"name": "published", "samples": None}}  # fmt: skip
    record = result_record(cfg, meta, runner_of(), measured, None, "x")
    assert (record["name"], record["source"], record["family"]) == ("vit_tiny_patch16_224", "unknown", "unknown")
    named = {"name": "DINOv2 ViT-S", "source": "timm:vit_small_patch14_dinov2.lvd142m", "family": "dino"}
    record = result_record(cfg, meta | named, runner_of(), measured, None, "x")
    assert {key: record[key] for key in named} == named
    assert record["budget"] == {"pretrain_updates": None, "pretrain_samples": None, "pretrain_scale": "published",
                                "pretrain_data": {"name": "unknown", "samples": None}}  # fmt: skip
    write_record(tmp_path, record)


def test_processes_share_one_batch_and_options_are_kept():
    cfg = load_config("depth/configs/mae.py", options={"model.decode_head.in_index": 2, "role": "trial"}, amp=True)
    measured = CONFIGS["depth"][1]
    two = result_record(cfg, meta_of(), runner_of(processes=2), measured, None, "x")["settings"]
    assert (two["global_batch"], two["processes"], two["precision"]) == (16, 2, "bf16")
    assert two["options"] == ["model.decode_head.in_index=2"]


def test_what_the_data_call_their_split():
    data = {"root": "x", "name": "mine", "kind": "seg", "classes": ["a"], "size": [96, 128], "splits": {"test": "val"}}
    options = {f"data.{key}": value for key, value in data.items()}
    cfg = load_config("seg_configs/upernet_mae.py", options=options)
    record = result_record(cfg, meta_of(), runner_of(), CONFIGS["upernet"][1], None, "x")
    assert (record["split"], record["tested_on"]) == ("test", "val")
    assert record["protocol"] == "mine-upernet-96x128-tiny-v1" and record["settings"]["input_size"] == [96, 128]
