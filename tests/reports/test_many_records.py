"""Many records with planted damage: every file is used or named with its reason. benchmarks/report.py times it."""

from collections import Counter

from benchmarks.report import DAMAGE, plant
from reports.records import scan

WORDS = {
    "truncated": "truncated",
    "of another version": "version 99",
    "against the schema": "hardware.threads",
    "not finite": "NaN",
    "duplicate": "duplicate of",
    "contradiction": "contradicts",
}


def test_every_file_is_used_or_named(tmp_path):
    planted = plant(tmp_path, 1010)
    assert set(planted) == set(WORDS) and set(DAMAGE) < set(WORDS) and set(planted.values()) == {1}
    records, unused = scan(tmp_path)
    assert len(records) + len(unused) == 1010
    reasons = Counter(kind for kind, word in WORDS.items() for u in unused if word in u.reason)
    assert reasons == planted | {"contradiction": 2}  # both sides of a contradiction are left out
    assert len(unused) == sum(reasons.values())


def test_several_processes_read_as_one_does(tmp_path, monkeypatch):
    plant(tmp_path, 1010)
    alone = scan(tmp_path)
    monkeypatch.setattr("reports.records.MANY", 100)
    assert scan(tmp_path) == alone
