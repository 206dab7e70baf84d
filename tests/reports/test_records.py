"""The record format: what is written can be read, and everything else is refused or named, never dropped."""

import json
import math

import pytest
from fastjsonschema import JsonSchemaValueException
from synthetic import failed, metric, record, untrained

from engine.errors import UserError
from reports.records import read_record, scan, write_record
from reports.schema import compiled, validator


def raw(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "entry",
    [
        record(),
        record("depth", "random"),
        record("mask_rcnn", "oracle"),
        failed(),
        failed(checkpoint=None),
        record(role="trial", split="val", selection=None),
    ],
)
def test_round_trip(tmp_path, entry):
    assert read_record(write_record(tmp_path / "run", entry)) == entry
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["result.json"]  # no temporary file stays


def test_a_record_is_never_overwritten(tmp_path):
    path = write_record(tmp_path, record())
    before = path.read_bytes()
    with pytest.raises(UserError, match="never overwritten"):
        write_record(tmp_path, record(seed=1))
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_writer_refuses_numbers_that_are_not_finite(tmp_path, value):
    with pytest.raises(UserError, match="cannot be written"):
        write_record(tmp_path, record(metrics={"mIoU": metric(value, "%", primary=True)}))
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_a_sample_that_is_not_there(tmp_path):
    sample = dict.fromkeys(("image", "truth", "prediction"), "samples/0.png")
    with pytest.raises(UserError, match=r"samples/0\.png is not in"):
        write_record(tmp_path, record(samples=[sample]))


BROKEN = [
    ({"seed": -1}, "seed"),
    ({"seed": "0"}, "seed"),
    ({"status": "done"}, "status"),
    ({"extra": 1}, "extra"),
    ({"status": "failed"}, "error"),
    ({"error": "why"}, "error"),
    ({"checkpoint": None}, "checkpoint"),
    ({"reference": True}, "reference_kind"),
    ({"reference_kind": "floor"}, "reference_kind"),
    ({"metrics": {}}, "mIoU"),
    ({"metrics": {"mIoU": metric(1, "%", "down", primary=True)}}, "direction"),
    ({"metrics": {"mIoU": metric(1, "%")}}, "primary"),
    ({"config_hash": "xyz"}, "config_hash"),
    ({"metrics": {"mIoU": metric(1, "%", primary=True), "aAcc": metric(1, "%", primary=True)}}, "2 primary"),
    ({"samples": [{"image": "../a.png", "truth": "b.png", "prediction": "c.png"}]}, "samples"),
    ({"samples": [{"image": "/a.png", "truth": "b.png", "prediction": "c.png"}]}, "samples"),
    ({"task": "poetry"}, "task"),
    ({"method": "../mae"}, "method"),
    ({"version": 4}, "version"),
    ({"source": ""}, "source"),
    ({"details": {"classes": ["a", "b"], "per_class": {"IoU": [1.0]}}}, "1 values of IoU for 2 classes"),
    ({"version": True}, "version"),
    ({"schema": "densebench/checkpoint"}, "densebench/checkpoint"),
]


@pytest.mark.parametrize(("changes", "word"), BROKEN)
def test_reader_and_writer_refuse_in_one_line(tmp_path, changes, word):
    entry = record() | changes
    with pytest.raises(UserError) as written:
        write_record(tmp_path / "written", entry)
    with pytest.raises(UserError) as read:
        read_record(raw(tmp_path / "read", json.dumps(entry)))
    for caught in (written, read):
        message = str(caught.value)
        assert word in message and "result.json" in message and "\n" not in message


@pytest.mark.parametrize(
    ("task", "names", "word"),
    [
        ("zero_shot", ("top1", "colour_top1"), None),
        ("zero_shot", ("mean_per_class",), None),
        ("zero_shot", ("colour_top1",), "metrics"),
        ("knn", ("top1", "mean_per_class"), None),
        ("knn", ("mIoU",), "top1"),
        ("linear_probe", ("top1",), None),
        ("attentive_probe", ("top1",), None),
        ("finetune", ("top1",), None),
        ("retrieval", ("image_to_text_R1", "text_to_image_R1", "text_to_image_R10"), None),
        ("retrieval", ("image_to_text_R1",), "text_to_image_R1"),
        ("cascade_mask_rcnn", ("box_AP", "mask_AP"), None),
        ("cascade_mask_rcnn", ("box_AP",), "mask_AP"),
    ],
)
def test_tasks_of_version_2(tmp_path, task, names, word):
    interval = {"low": 0.5, "high": 2, "chance": 0.1}
    metrics = {name: metric(1, "%", primary=name == names[0]) | interval for name in names}
    entry = record() | {"task": task, "metrics": metrics, "settings": untrained()}
    if word is None:
        assert read_record(write_record(tmp_path, entry)) == entry
        metrics[names[0]]["direction"] = "down"
        word = "direction"
    with pytest.raises(UserError, match=word):
        write_record(tmp_path / "refused", entry)


@pytest.mark.parametrize("ends", [{"low": 1.0}, {"high": 1.0}, {"low": 2.0, "high": 1.0}, {"low": "1", "high": 2}])
def test_an_interval_has_two_ordered_ends(tmp_path, ends):
    with pytest.raises(UserError, match="low"):
        write_record(tmp_path, record(metrics={"mIoU": metric(1.5, "%", primary=True) | ends}))


def places(value, path=()):
    """Every path in a record, its containers included."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*path, key))


def test_the_compiled_check_passes_nothing_that_jsonschema_refuses():
    """Every value of three records replaced by odd ones, and every key left out."""
    retrieval = {
        name: metric(1, "%", primary=name == "image_to_text_R1") | {"low": 0.5, "high": 2}
        for name in ("image_to_text_R1", "text_to_image_R1")
    }
    sample = dict.fromkeys(("image", "truth", "prediction"), "a.png")
    entries = [
        record(samples=[sample], selection=record()["selection"] | {"trials": []}, versions={}),
        record() | {"task": "retrieval", "metrics": retrieval, "selection": None, "versions": {}},
        record(
            details={
                "classes": ["a", "b"],
                "per_class": {"IoU": [50.0, None]},
                "confusion": [{"right": 5, "wrong": [[1, 3]], "others": 0}, {"right": 0, "wrong": [], "others": 0}],
            }
        ),
    ]
    refused, allowed = 0, 0
    for entry in entries:
        for path in list(places(entry))[1:]:
            for odd in (None, True, -1, "../up", [], {}, ...):
                changed = json.loads(json.dumps(entry))
                inner = changed
                for key in path[:-1]:
                    inner = inner[key]
                if odd is ...:
                    del inner[path[-1]]
                else:
                    inner[path[-1]] = odd
                try:
                    compiled()(changed)
                except JsonSchemaValueException:
                    refused += 1
                    continue
                allowed += 1
                assert validator().is_valid(changed), (path, odd)
    assert refused > 500 and allowed > 50


def test_every_key_is_required(tmp_path):
    for key in record():
        entry = record()
        del entry[key]
        with pytest.raises(UserError):
            read_record(raw(tmp_path / key, json.dumps(entry)))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "truncated"),
        (json.dumps(record())[:-40], "truncated"),
        ("[1, 2]", "not a result record"),
        ("null", "not a result record"),
        ('{"schema": "densebench/result"}', "version None"),
        (json.dumps(record()).replace('"seed": 0', '"seed": 0, "seed": 1'), "twice"),
        (json.dumps(record()).replace('"flops": 1234000000.0', '"flops": NaN'), "NaN is not a finite"),
        (json.dumps(record()).replace('"flops": 1234000000.0', '"flops": 1e999'), "1e999 is not a finite"),
        ("[" * 100000, "not"),
    ],
)
def test_reader_refuses_damaged_text(tmp_path, text, word):
    with pytest.raises(UserError, match=word) as caught:
        read_record(raw(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_reader_refuses_what_is_no_text(tmp_path):
    (tmp_path / "result.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        read_record(tmp_path / "result.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_record(tmp_path / "absent.json")


def test_scan_accounts_for_every_file(tmp_path):
    write_record(tmp_path / "a", record(seed=0))
    write_record(tmp_path / "b", record(seed=1))
    write_record(tmp_path / "copy_of_a", record(seed=0))
    raw(tmp_path / "cut", json.dumps(record())[:100])
    raw(tmp_path / "later", json.dumps(record(version=9)))
    raw(tmp_path / "foreign", json.dumps({"schema": "someone/else", "version": 1}))
    (tmp_path / "b" / ".result.json.77.tmp").write_text("{")
    (tmp_path / "b" / "notes.txt").write_text("not a record and not named like one")
    records, unused = scan(tmp_path)
    assert [r.path for r in records] == ["a/result.json", "b/result.json"]
    reasons = {u.path: u.reason for u in unused}
    assert reasons.keys() == {
        "copy_of_a/result.json",
        "cut/result.json",
        "later/result.json",
        "foreign/result.json",
        "b/.result.json.77.tmp",
    }
    assert reasons["copy_of_a/result.json"] == "duplicate of a/result.json"
    assert "truncated" in reasons["cut/result.json"] and "version 9" in reasons["later/result.json"]
    assert "someone/else" in reasons["foreign/result.json"] and "interrupted" in reasons["b/.result.json.77.tmp"]


def test_contradicting_records_are_all_left_out(tmp_path):
    entry = record()
    shared = entry | {"settings": entry["settings"] | {"processes": 8}}  # of the same batch
    write_record(tmp_path / "a", entry)
    write_record(tmp_path / "b", shared | {"metrics": {"mIoU": metric(1.0, "%", primary=True)}})
    write_record(tmp_path / "c", record(seed=2))
    records, unused = scan(tmp_path)
    assert [r.path for r in records] == ["c/result.json"]
    reasons = [u.reason for u in unused]
    assert "contradicts b/result.json" in reasons[0] and "contradicts a/result.json" in reasons[1]
    assert all("other metric values" in reason for reason in reasons)


@pytest.mark.parametrize("settings", [{"lr": 0.5}, {"global_batch": 8}, {"precision": "bf16"}, {"options": ["a=1"]}])
def test_other_settings_are_another_cell(tmp_path, settings):
    entry = record()
    write_record(tmp_path / "a", entry)
    write_record(tmp_path / "b", record(settings=entry["settings"] | settings))
    write_record(tmp_path / "c", record(checkpoint=entry["checkpoint"] | {"sha256": "0" * 64}))
    assert len(scan(tmp_path)[0]) == 3 and scan(tmp_path)[1] == []


def test_a_finished_run_replaces_its_failed_one(tmp_path):
    write_record(tmp_path / "first", failed())
    write_record(tmp_path / "second", record())
    records, unused = scan(tmp_path)
    assert [r.path for r in records] == ["second/result.json"]
    assert unused[0].path == "first/result.json" and "second/result.json finished" in unused[0].reason


def test_trials_at_other_settings_are_not_duplicates(tmp_path):
    for k, lr in enumerate((0.1, 0.2)):
        write_record(tmp_path / str(k), record(role="trial", settings=record()["settings"] | {"lr": lr}))
    assert len(scan(tmp_path)[0]) == 2 and scan(tmp_path)[1] == []


def test_scan_names_a_missing_root(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        scan(tmp_path / "nowhere")
