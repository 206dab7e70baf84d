"""A study in one file gives the report of its runs, beside others, or is refused in a sentence."""

import gzip
import json

import pytest

from engine.errors import UserError
from reports import html, markdown
from reports.corpora import opened, pack
from reports.page import build
from reports.records import scan, write_record
from tests.reports.synthetic import record
from tools.report import main


@pytest.fixture
def runs(tmp_path):
    """Two encoders' records of two seeds, without pictures, one with a curve."""
    for method in ("random", "mae"):
        for seed in (0, 1):
            write_record(tmp_path / f"runs/upernet/{method}/seed{seed}", record(method=method, seed=seed, samples=[]))
    lines = [json.dumps({"iteration": k, "loss": 1 / (k + 1), "lr": 0.1}) + "\n" for k in range(300)]
    (tmp_path / "runs/upernet/mae/seed0/curve.jsonl").write_text("".join(lines))
    return tmp_path / "runs"


def test_a_corpus_gives_the_bytes_of_the_report_of_its_runs(runs, tmp_path, capsys):
    main([str(runs), "--pack", str(tmp_path / "study.jsonl.gz")])
    assert "4 records of 1 version of the code" in capsys.readouterr().out
    first = (tmp_path / "study.jsonl.gz").read_bytes()
    pack([tmp_path / "study.jsonl.gz"], tmp_path / "again.jsonl.gz")
    assert (tmp_path / "again.jsonl.gz").read_bytes() == first
    own, packed = build(runs), build(tmp_path / "study.jsonl.gz")
    assert markdown.render(own) == markdown.render(packed) and html.render(own) == html.render(packed)
    assert "curve" in html.render(packed)


def test_corpora_and_runs_stand_in_one_report(runs, tmp_path):
    pack([runs], tmp_path / "study.jsonl.gz")
    write_record(tmp_path / "mine/a", record(method="clip", samples=[]))
    write_record(tmp_path / "mine/again", record(method="mae", samples=[]))  # stands in the corpus too
    with opened(tmp_path / "study.jsonl.gz") as unpacked:
        records, unused = scan(unpacked, tmp_path / "mine")
    assert [r.path for r in records][0] == "mine/a/result.json" and len(records) == 5
    assert [u.path for u in unused] == ["mine/again/result.json"]
    text = markdown.render(build(tmp_path / "study.jsonl.gz", tmp_path / "mine"))
    assert "CLIP" in text and "MAE" in text


def test_folders_of_one_name_are_told_apart(tmp_path):
    for place in ("a/runs", "b/runs"):
        write_record(tmp_path / place / "x", record(seed=ord(place[0]), samples=[]))
    assert [r.path for r in scan(tmp_path / "a/runs", tmp_path / "b/runs")[0]] == [
        f"{tmp_path}/{place}/runs/x/result.json" for place in "ab"
    ]


@pytest.mark.parametrize(("damage", "sentence"), [
    (lambda data: data[: len(data) // 2], "is no corpus .EOFError"),
    (lambda data: b"not packed", "cannot be read"),
    (lambda data: repacked(data, lambda lines: lines[:-1]), "is no corpus .*3 records follow"),
    (lambda data: repacked(data, lambda lines: [lines[0].replace("corpus", "corpse"), *lines[1:]]), "is no corpus"),
    (lambda data: repacked(data, lambda lines: [line.replace("upernet/mae/seed0", "../x") for line in lines]),
     "a record's path leads out of it"),
])  # fmt: skip
def test_what_is_no_whole_corpus_is_refused(runs, tmp_path, damage, sentence):
    path = tmp_path / "study.jsonl.gz"
    pack([runs], path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=sentence):
        build(path)


def repacked(data: bytes, edit) -> bytes:
    lines = gzip.decompress(data).decode().splitlines()
    return gzip.compress("".join(line + "\n" for line in edit(lines)).encode())


def test_a_number_changed_behind_the_packing_is_seen(runs, tmp_path):
    path = tmp_path / "study.jsonl.gz"
    pack([runs], path)
    lines = gzip.decompress(path.read_bytes()).decode().replace('"seed": 1', '"seed": 2')
    path.write_bytes(gzip.compress(lines.encode()))
    assert [u.reason[:11] for u in build(path).unused] == ["was altered", "was altered"]


def test_a_corpus_leaves_nothing_out(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="a corpus is called NAME.jsonl.gz"):
        pack([runs], tmp_path / "study.json")
    with pytest.raises(UserError, match="no final result record"):
        pack([tmp_path / "empty"], tmp_path / "a.jsonl.gz")
    (runs / "upernet/mae/seed0/result.json").write_text("{")
    with pytest.raises(UserError, match="is no usable record"):
        pack([runs], tmp_path / "study.jsonl.gz")


def test_runs_of_several_places_become_one_corpus(runs, tmp_path, monkeypatch):
    """Two folders of one name and a corpus; the report is that of the places themselves, which need not stay."""
    write_record(tmp_path / "other/runs/upernet/mae/seed0", record(method="mae", seed=2, samples=[]))
    write_record(tmp_path / "old/a", record(method="clip", samples=[]))
    pack([tmp_path / "old"], tmp_path / "old.jsonl.gz")
    monkeypatch.chdir(runs)
    places = ["../runs", str(tmp_path / "other/runs"), str(tmp_path / "old.jsonl.gz")]
    main([*places, "--pack", str(tmp_path / "all.jsonl.gz")])
    with opened(tmp_path / "all.jsonl.gz") as unpacked:
        paths = [r.path for r in scan(unpacked)[0]]
    own = ("mae/seed0", "mae/seed1", "random/seed0", "random/seed1")
    first, last = "old/a/result.json", "runs-2/upernet/mae/seed0/result.json"
    assert paths == [first, *(f"runs-1/upernet/{one}/result.json" for one in own), last]
    (one,), (other,) = build(tmp_path / "all.jsonl.gz").chapters, build(*places).chapters
    assert one.main == other.main
    with pytest.raises(
        UserError, match="other/runs/.* is no usable record .duplicate of all.jsonl.gz/runs-2/.*: mend or rem"
    ):
        pack([tmp_path / "all.jsonl.gz", tmp_path / "other"], tmp_path / "twice.jsonl.gz")
    assert not (tmp_path / "twice.jsonl.gz").exists()
