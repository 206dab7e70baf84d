"""The folder of a report holds exactly the last report, and everything else that its owner put there."""

import json

import pytest

from engine.errors import UserError
from reports.output import MANIFEST, write_report
from tools.report import main


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*")
            if path.is_file() and path.name != MANIFEST}  # fmt: skip


def test_what_the_next_report_lacks_is_removed(tmp_path):
    first = {"index.html": "1", "tables/a.csv": "a", "tables/b.csv": "b", "cards/m.md": "m"}
    assert write_report(tmp_path, first) == []
    (tmp_path / "tables" / "mine.csv").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    removed = write_report(tmp_path, {"index.html": "2", "tables/b.csv": "b"})
    assert removed == ["cards/m.md", "tables/a.csv"] and not (tmp_path / "cards").exists()
    assert files(tmp_path) == {
        "index.html": "2", "tables/b.csv": "b", "tables/mine.csv": "mine", "notes.txt": "mine too"}  # fmt: skip


def test_what_was_changed_since_stays(tmp_path):
    write_report(tmp_path, {"a.csv": "a", "b.csv": "b", "c.csv": "c"})
    (tmp_path / "a.csv").write_text("edited")
    (tmp_path / "b.csv").unlink()
    (tmp_path / "b.csv").symlink_to("c.csv")
    assert write_report(tmp_path, {"c.csv": "b"}) == []
    assert files(tmp_path) == {"a.csv": "edited", "b.csv": "b", "c.csv": "b"}


def test_an_interrupted_report_leaves_nothing_unlisted(tmp_path, monkeypatch):
    write_report(tmp_path, {"old.csv": "1"})
    monkeypatch.setattr("reports.output._remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, {"new.csv": "2"})
    monkeypatch.undo()
    assert write_report(tmp_path, {"third.csv": "3"}) == ["new.csv", "old.csv"]
    assert files(tmp_path) == {"third.csv": "3"}


def test_nothing_outside_the_folder_is_touched(tmp_path):
    (tmp_path / "user.txt").write_text("mine")
    out = tmp_path / "out"
    write_report(out, {"a.csv": "a"})
    manifest = json.loads((out / MANIFEST).read_text())
    digest = manifest["files"]["a.csv"]
    (tmp_path / "user.txt").write_text("a")
    manifest["files"] |= {"../user.txt": digest, str(tmp_path / "user.txt"): digest}
    (out / MANIFEST).write_text(json.dumps(manifest))
    assert write_report(out, {"b.csv": "b"}) == ["a.csv"] and (tmp_path / "user.txt").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "densebench/report", "version": 2, "files": {}}',
                                  '{"schema": "densebench/report", "version": 1, "files": []}'])  # fmt: skip
def test_a_list_that_is_none_is_refused_before_anything_is_written(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UserError, match="not the list of a report's files"):
        write_report(tmp_path, {"a.csv": "a"})
    assert not (tmp_path / "a.csv").exists()


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(tmp_path / "file", {"a.csv": "a"})
    with pytest.raises(UserError, match="no final result record"):
        main([str(tmp_path), "--out", str(tmp_path)])
