"""The catalogue against what its rows speak of: configs, published recipes, records and the tables of reports."""

import ast
import copy
import itertools
from pathlib import Path

import pytest
from mmengine.config import Config

from engine import catalogue
from engine.catalogue import CLIP_KIN, DENSE, METHODS, PRETRAIN, TASK, TASKS
from engine.errors import UserError
from reports.comparisons import COMPARISONS, MEASURES
from reports.expectations import EXPECTATIONS
from reports.rows import Row, family, no_text, row_order
from reports.schema import check
from study.configure import load_config
from tests.reports.synthetic import metric, record

ROOT = Path(__file__).parents[2]


def test_it_imports_nothing_but_what_describes_data():
    tree = ast.parse(Path(catalogue.__file__).read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert sorted(node.module for node in found) == ["dataclasses", "typing"]


def test_every_method_has_a_config_and_every_config_a_row():
    ids = [method.id for method in METHODS]
    assert len(set(ids)) == len(ids)
    ids = [method.id for method in METHODS if not method.baseline]
    assert sorted(ids) == sorted(path.stem for path in Path(ROOT, "pretrain/configs").glob("*.py"))


@pytest.mark.parametrize("method", [m for m in METHODS if not m.baseline], ids=lambda method: method.id)
def test_a_text_tower_is_where_the_config_has_one(method):
    cfg = load_config(PRETRAIN.config.format(method=method.id))
    assert (cfg.method, cfg.task, "text" in cfg.model) == (method.id, "pretrain", method.text)
    assert cfg.data.kind in PRETRAIN.kinds


def test_rows_of_one_family_stand_together():
    families = [name for name, _ in itertools.groupby(method.family for method in METHODS)]
    assert len(set(families)) == len(families) and "others" not in families


def test_no_two_methods_share_a_place_or_a_colour():
    for values in ([m.colour for m in METHODS], [t.probe for t in TASKS]):
        given = [value for value in values if value is not None]
        assert len(set(given)) == len(given) > 1


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_tasks_config_says_what_its_row_says(task):
    cfg = Config.fromfile(ROOT / task.config)
    assert cfg.task == task.id and cfg.data.kind in task.kinds
    first = task.metrics[0]
    assert first.role == "required"
    if "metrics" not in cfg:
        assert cfg.primary == first.name
        return
    assert [name for name, stated in cfg.metrics.items() if stated.get("primary")] == [first.name]
    for shown in task.metrics:
        stated = cfg.metrics[shown.name]
        assert stated["direction"] == shown.direction and shown.unit in (stated["unit"], None)


def test_groups_are_what_the_protocols_call_dense():
    assert {*DENSE} == {"mask_rcnn", "cascade_mask_rcnn", "upernet", "semantic_fpn", "depth"}
    assert set(TASK) == {task.id for task in TASKS} | {"pretrain"} and len(TASK) == len(TASKS) + 1
    assert all(task.hub and task.group in ("dense", "probe", "image") for task in TASKS)


def test_declared_comparisons_speak_of_known_methods_and_metrics():
    methods = {method.id for method in METHODS}
    shown = {(task.id, metric.name) for task in TASKS for metric in task.metrics}
    assert {id for comparison in COMPARISONS for pair in comparison.pairs for id in pair} <= methods
    assert set(MEASURES.values()) <= shown
    assert all({e.better, e.worse} <= methods and {*e.tasks} <= {*DENSE, "zero_shot"} for e in EXPECTATIONS)


def test_the_kin_of_clip_are_fine_tuned_by_its_published_recipe():
    stated = Config.fromfile(ROOT / "recognition/configs/_base_/finetune_paper.py")
    rows = {method: row.optim_wrapper.optimizer.lr for method, row in stated.by_method.items()}
    assert rows == {**dict.fromkeys(CLIP_KIN, 4e-3), "mae": 2e-3, "beit": 4e-3, "cae": 8e-3, "fd": 5e-3}
    studied = Config.fromfile(ROOT / "study/configs/full.py").encoders
    assert {m.id for m in METHODS if m.text and m.id in studied} == {*CLIP_KIN}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_finished_record_needs_the_metrics_of_its_row(task):
    """Each required metric left out, or turned round, is refused; what is optional may be absent but not turned."""
    entry = record("upernet") | {"task": task.id}
    shown = [m for m in task.metrics if m.role != "instead"]
    entry["metrics"] = {
        m.name: metric(1.0, m.unit or "%", m.direction, primary=m is task.metrics[0]) for m in shown
    }  # fmt: skip
    assert check(copy.deepcopy(entry), "here")["task"] == task.id
    for one in shown:
        turned = copy.deepcopy(entry)
        turned["metrics"][one.name]["direction"] = {"up": "down", "down": "up"}[one.direction]
        with pytest.raises(UserError, match="here: .* breaks the record schema"):
            check(turned, "here")
        without = copy.deepcopy(entry)
        was = without["metrics"].pop(one.name)
        without["metrics"]["other"] = {**was, "direction": "up"}  # so that there is one primary metric still
        if one.role in ("optional", "detail"):
            check(without, "here")
        else:
            with pytest.raises(UserError, match="here: metrics breaks the record schema"):
                check(without, "here")


@pytest.mark.parametrize("method", ["timm", "mymethod", "my-method", "mae2"])
def test_a_method_without_a_row_has_a_place_below_the_families(method):
    own, worded = Row(method, None, method, None), Row(method, "noisy", method, None)
    assert family(own) == "others" and no_text(own, "zero_shot") and not no_text(worded, "zero_shot")
    below, above = Row("wsp", "tags", "WSP", None), Row("mae-pixels", None, "MAE", None)
    assert row_order(above) < row_order(below) < row_order(own)
    assert family(above) == "masked images" and no_text(below, "retrieval") and not no_text(below, "knn")
