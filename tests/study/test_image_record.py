"""From the outcome of a test to a record that the strict writer accepts."""

import pytest

from backbones import encoder_flops
from backbones.towers import Features, Towers
from engine.errors import UserError
from engine.outcome import Measure, Outcome
from reports.records import read_record, write_record
from study.configure import load_config
from study.record import evaluation_record, table

MEASURES = [Measure("top1", 41.25, 40.0, 42.5, 12.5), Measure("mean_per_class", 40.0, 38.0, 41.0, 12.5)]


@pytest.fixture
def cfg(clip):
    return load_config("recognition/configs/zero_shot.py", checkpoint=str(clip[0]))


def test_a_record_of_what_was_not_trained(cfg, clip, tmp_path):
    part = Towers(clip[0])
    record = evaluation_record(cfg, part, Outcome(MEASURES), 2.5, "python tools/test.py x")
    assert read_record(write_record(tmp_path, record)) == record
    assert record["metrics"]["top1"] == {"value": 41.25, "unit": "%", "direction": "up", "primary": True,
                                         "low": 40.0, "high": 42.5, "chance": 12.5}  # fmt: skip
    assert not record["metrics"]["mean_per_class"]["primary"]
    assert (record["task"], record["split"], record["method_name"]) == ("zero_shot", "test", "CLIP")
    untrained = ("lr", "layer_decay", "iterations", "global_batch", "train_images", "detections", "proposals")
    assert {record["settings"][key] for key in untrained} == {None} and record["samples"] == []
    assert record["settings"]["input_size"] == [32, 32] and record["settings"]["mean"] == part.meta["image"]["mean"]
    cost = record["cost"]
    assert (cost["finetune_wall_s"], cost["finetune_samples_per_s"]) == (2.5, None)
    assert cost["parameters"] == sum(p.numel() for p in part.model.parameters())
    assert cost["parameters"] > sum(p.numel() for p in Features(clip[0]).model.parameters()), "the text tower counts"
    assert cost["flops"] == encoder_flops(part.meta["encoder"], (32, 32))
    assert table(record).splitlines()[0] == "top1                      41.2 %  [ 40.0,  42.5]  chance 12.5 %"


def test_settings_of_what_was_trained(cfg, clip, tmp_path):
    record = evaluation_record(cfg, Towers(clip[0]), Outcome(MEASURES, {"lr": 0.1, "train_images": 8}, 50.0), 2.5, "x")
    assert (record["settings"]["lr"], record["settings"]["train_images"]) == (0.1, 8)
    assert record["cost"]["finetune_samples_per_s"] == 50.0
    write_record(tmp_path, record)


def test_an_unknown_primary_measure_is_refused(cfg, clip):
    cfg.primary = "top3"
    with pytest.raises(UserError, match="'top3' is none of top1, mean_per_class"):
        evaluation_record(cfg, Towers(clip[0]), Outcome(MEASURES), 2.5, "x")
