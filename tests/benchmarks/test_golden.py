"""The golden file: each kind of difference is named, none is made up, and the file reads back as it was written."""

import copy
import gzip
import json

import pytest
import torch
from safetensors.torch import save_file

from benchmarks import golden, golden_configs, golden_runs
from benchmarks.golden_compare import beside, departures, differences, grouped, portable, read, write
from engine.errors import UserError
from study.configure import locate

ENTRY = {
    "weights": {"encoder": "ab" * 32},
    "curve": [{"iteration": 4, "loss": 2.5}, {"iteration": 8, "loss": 2.25}],
    "metrics": {"mIoU": {"value": 31.5, "unit": "%"}},
    "groups": [{"lr": 1e-3, "betas": [0.9, 0.98], "tensors": 4}],
}


def changed(edit):
    """ENTRY after `edit`."""
    entry = copy.deepcopy(ENTRY)
    edit(entry)
    return entry


def test_equal_entries_have_no_difference():
    assert differences(ENTRY, copy.deepcopy(ENTRY)) == [] and departures(ENTRY, copy.deepcopy(ENTRY)) == []


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (lambda e: e["curve"][1].update(loss=2.125), "curve.1.loss was 2.25, is 2.125"),
        (lambda e: e["groups"][0].update(betas=[0.9, 0.99]), "groups.0.betas was [0.9, 0.98], is [0.9, 0.99]"),
        (lambda e: e["groups"][0].update(tensors=4.0), "groups.0.tensors was 4, is 4.0"),
        (lambda e: e["metrics"].pop("mIoU"), None),
        (lambda e: e["weights"].update(text="cd"), 'weights.text is new: "cd"'),
        (lambda e: e["groups"][0].pop("lr"), "groups.0.lr is gone, was 0.001"),
    ],
)
def test_a_changed_a_missing_and_an_extra_value_are_each_named(edit, wanted):
    found = differences(ENTRY, changed(edit))
    if wanted is None:  # the last value of a dict leaves the empty dict in its place
        assert sorted(found) == sorted(
            ["metrics is new: {}", 'metrics.mIoU.unit is gone, was "%"', "metrics.mIoU.value is gone, was 31.5"]
        )
    else:
        assert found == [wanted]


def test_a_missing_a_new_and_a_failed_run():
    assert differences(ENTRY, None) == ["is missing"]
    assert differences(None, ENTRY) == ["is new: not in the golden file"]
    assert differences(ENTRY, "there is no such run") == ["cannot be made any more: there is no such run"]
    assert differences(None, "a scale that it never had") == []


def test_entries_that_changed_alike_share_a_line():
    lines = grouped({"a": ["x"], "b": ["x", "y"], "c": ["x"], "d": ["x"], "e": ["x"], "f": []})
    assert lines == ["a, b, c and 2 more: x", "b: y"]


def test_another_machine_notes_numbers_and_still_counts_the_rest():
    other = changed(lambda e: (e["weights"].update(encoder="00"), e["curve"][0].update(loss=2.0)))
    assert differences(portable(ENTRY), portable(other)) == []
    assert departures(ENTRY, other) == ["curve.0.loss departs by 0.2 of itself"]
    near = changed(lambda e: e["curve"][0].update(loss=2.5 * (1 + 1e-4)))
    assert departures(ENTRY, near) == []
    assert differences(portable(ENTRY), portable(changed(lambda e: e["groups"][0].update(lr=1.0)))) != []


def test_configurations_alone_may_be_written_on_another_machine(tmp_path, monkeypatch):
    """Its runs stay, and the machine that they are of; whatever measures a run is refused."""
    golden_file, there = tmp_path / "golden.json", {"cpu": "another"}
    write(golden_file, {"machine": there, "runs": {"pretrain mae": ENTRY}, "configurations": {}}, {}, {})
    monkeypatch.setattr(golden, "observe", lambda args, known: ({}, {"upernet mae tiny": {"model": {"lr": 1.0}}}))
    command = ["golden", "write", "--file", str(golden_file), "--only", "upernet mae*"]
    for part in ([], ["--part", "runs"]):
        monkeypatch.setattr("sys.argv", [*command, *part])
        with pytest.raises(UserError, match="was written on another machine: write it whole"):
            golden.main()
    monkeypatch.setattr("sys.argv", [*command, "--part", "configurations"])
    assert golden.main() == 0
    found = read(golden_file)
    assert found["machine"] == there and found["runs"] == {"pretrain mae": ENTRY}
    assert list(found["configurations"]) == ["upernet mae tiny"]


def test_the_file_reads_back_and_damage_is_one_sentence(tmp_path):
    path = tmp_path / "golden.json"
    sections = {"upernet mae paper": {"model": {"a.b": 1}, "data": {"name": "x"}}, "depth mae paper": {"data": {}}}
    marks = {name: golden_configs.hashes(found) for name, found in sections.items()}
    pool = {marks[name][key]: content for name, found in sections.items() for key, content in found.items()}
    document = {"machine": {"cpu": "one"}, "runs": {"upernet mae": ENTRY}, "configurations": dict.fromkeys(marks, "h")}
    write(path, document, marks, pool)
    found = read(path)
    assert found["runs"] == {"upernet mae": ENTRY} and found["sections"] == sections
    lines = path.read_text().splitlines()
    assert sum('"curve"' in line for line in lines) == 1 and any(line.strip() == '"upernet mae": {' for line in lines)
    before = beside(path).read_bytes()
    write(path, document, marks, pool)
    assert beside(path).read_bytes() == before, "no time of day in it"
    beside(path).write_bytes(before[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        read(path)
    beside(path).write_bytes(gzip.compress(json.dumps({"configurations": {}, "sections": {}}).encode()))
    with pytest.raises(UserError, match="cannot be read"):
        read(path)
    write(path, document, marks, pool)
    path.write_text(path.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(UserError, match="version 9"):
        read(path)


def test_configurations_count_by_meaning():
    inner = {"type": "ImageFolder", "size": (64, 64), "classes": "<data>"}
    wrapped = {"type": "Addressed", "seed": 0, "dataset": {**inner, "classes": None}}
    one = {"train_dataloader": {"dataset": wrapped}, "lr": 0.1 + 0.2, "work_dir": "runs/a", "encoder": {"name": "x"}}
    other = {"train_dataloader": {"dataset": inner}, "lr": 0.3, "work_dir": "runs/b"}
    assert golden_configs.sections(one) == golden_configs.sections(other)
    assert golden_configs.hashes(golden_configs.sections(one)) == golden_configs.hashes(golden_configs.sections(other))
    other["lr"] = 0.3001
    old, new = (golden_configs.joined(golden_configs.sections(cfg)) for cfg in (one, other))
    assert differences(old, new) == ["lr was 0.3, is 0.3001"]
    other["train_dataloader"]["dataset"]["size"] = (64, 32)
    new = golden_configs.joined(golden_configs.sections(other))
    assert differences(old, new)[1:] == ["train_dataloader.dataset.size was [64, 64], is [64, 32]"]
    assert "surprise" in golden_configs.sections({**one, "surprise": 1}), "what nobody knows is compared"


def test_a_digest_of_weights_sees_names_types_shapes_and_bytes(tmp_path):
    def digest(**tensors):
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "weights.safetensors")
        return golden_runs.weights_digest(tmp_path / "weights.safetensors")

    values = torch.arange(6, dtype=torch.float32)
    seen = [
        digest(a=values, b=values[:1]), digest(b=values, a=values[:1]), digest(a=values.reshape(2, 3), b=values[:1]),
        digest(a=values.view(torch.int32), b=values[:1]), digest(a=-values, b=values[:1]), digest(a=values),
    ]  # fmt: skip
    assert len(set(seen)) == len(seen)
    assert digest(b=values[:1], a=values) == seen[0], "the order in the file is none of its content"


def test_parameter_groups_join_equal_settings_and_count():
    weight = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(4))
    bias = torch.nn.Parameter(torch.ones(5))
    groups = [dict(params=[weight[0]], lr=0.1), dict(params=[bias], lr=0.2), dict(params=[weight[1]], lr=0.1)]
    optimizer = torch.optim.AdamW(groups)
    (weight[0].sum() + weight[1].sum() + bias.sum()).backward()
    optimizer.step()
    found = golden_runs.parameter_groups(optimizer.state_dict())
    assert [(g["lr"], g["tensors"], g["numbers"]) for g in found] == [(0.1, 2, 10), (0.2, 1, 5)]


def test_the_plan_has_every_method_task_and_parent():
    plan = golden_runs.plan()
    assert {run.method for run in plan.values() if run.task == "pretrain"} == set(golden_runs.methods())
    assert {run.task for run in plan.values()} == {*golden_runs.CONFIGS, *golden_runs.IMAGE_TASKS}
    for run in plan.values():
        assert locate(golden_runs.ROOT / golden_runs.spelled(run.task, run.method)[0])[0].is_file()
    assert [run.name for run in golden_runs.with_parents(["pretrain wsp"])] == ["pretrain mae", "pretrain wsp"]
    names = [run.name for run in golden_runs.with_parents(list(plan))]
    assert names == list(plan)
    place = {name: index for index, name in enumerate(names)}
    for run in plan.values():
        assert run.parent is None or place[f"pretrain {run.parent}"] < place[run.name]
