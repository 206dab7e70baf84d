"""Records of older versions: what their own fields tell is filled in, nothing is guessed, their files stay."""

import json

import pytest
from synthetic import as_version_2, record

from engine.errors import UserError
from reports.migrations import STEPS, VERSION
from reports.records import read_record, write_record


def raw(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    path.write_text(text)
    return path


def test_every_version_but_the_current_one_has_a_step():
    assert sorted(STEPS) == list(range(1, VERSION))


def test_version_1_is_migrated_on_read_and_never_written(tmp_path):
    old = as_version_2(record()) | {"version": 1}
    path = raw(tmp_path / "old", json.dumps(old))
    before = path.read_bytes()
    assert read_record(path)["version"] == VERSION and path.read_bytes() == before
    with pytest.raises(UserError, match="written as version 3"):
        write_record(tmp_path / "new", old)
    broken = raw(tmp_path / "broken", json.dumps(old | {"seed": -1}))
    with pytest.raises(UserError, match="seed"):
        read_record(broken)


UNSAID = ("mean", "std", "detections", "proposals")


def migrated(tmp_path, entry, **changes):
    return read_record(raw(tmp_path, json.dumps(as_version_2(entry) | changes)))


def test_version_2_is_filled_from_what_it_tells(tmp_path):
    """A run of two processes shows by its pace: 400 iterations of 16 images each in 33.1 s."""
    entry = record()
    entry["cost"]["finetune_samples_per_s"] = round(2 * 400 * 16 / 33.1, 1)
    found = migrated(tmp_path, entry, command="python x.py --amp --cfg-options a.b=1 optim_wrapper.optimizer.lr=1 --c")
    wanted = entry["settings"] | dict.fromkeys(UNSAID) | {
        "global_batch": 32, "processes": 2, "precision": "bf16", "options": ["a.b=1"]}  # fmt: skip
    assert found["settings"] == wanted
    assert (found["name"], found["source"], found["family"]) == ("MaskCLIP", None, "clip")
    assert found["protocol"] == "scenes-upernet-64-tiny-v1" and found["budget"] == entry["budget"]


def test_version_2_is_not_filled_from_guesses(tmp_path):
    """Other data have a size that no record of that version tells, and weights from elsewhere a past of their own."""
    cost = record()["cost"] | {"finetune_samples_per_s": 150.0}
    found = migrated(tmp_path, record(cost=cost), dataset="mine", protocol="mine-upernet-tiny-v1", method="timm",
                     method_name="timm", command="a quotation mark that \" stands alone")  # fmt: skip
    assert found["protocol"] == "mine-upernet-tiny-v1" and found["settings"]["input_size"] is None
    assert (found["name"], found["source"], found["family"]) == ("vit_tiny_patch16_224", "unknown", "unknown")
    assert found["budget"]["pretrain_scale"] is None
    assert found["settings"]["processes"] is None, "the pace of this record fits no number of processes"


def test_a_damaged_record_of_version_2_is_refused_in_one_line(tmp_path):
    for key in ("settings", "budget", "cost", "checkpoint"):
        old = as_version_2(record()) | {key: []}
        with pytest.raises(UserError, match="result.json: ") as caught:
            read_record(raw(tmp_path, json.dumps(old)))
        assert "\n" not in str(caught.value)
