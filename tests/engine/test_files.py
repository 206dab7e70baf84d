"""Atomic writes: a reader sees the old file or the new one."""

import hashlib
import os
import tarfile

import pytest

from engine.files import atomic_path, sha256, whole_folder, write_json, write_tars, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "value.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["value.json"]


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_sha256(tmp_path):
    write_text(tmp_path / "a", "dense")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"dense").hexdigest()


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "made"
    with pytest.raises(RuntimeError), whole_folder(path) as new:
        (new / "a").write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    (tmp_path / ".made.new").mkdir()  # of a writer that was killed
    (tmp_path / ".made.new/old").write_text("litter")
    with whole_folder(path) as new:
        (new / "inner").mkdir()
        (new / "inner/a").write_text("one")
        assert not path.exists()
    assert os.listdir(tmp_path) == ["made"] and os.listdir(path) == ["inner"]
    with pytest.raises(FileExistsError), whole_folder(path):
        pass
    with pytest.raises(RuntimeError), whole_folder(path, replace=True):
        raise RuntimeError
    assert (path / "inner/a").read_text() == "one"
    with whole_folder(path, replace=True) as new:
        (new / "b").write_text("two")
    assert os.listdir(tmp_path) == ["made"] and os.listdir(path) == ["b"]


def test_a_folder_survives_a_kill_between_the_two_renames(tmp_path, in_child, monkeypatch):
    """The old one was moved aside and the new one has not its name yet: whoever comes next puts the old one back."""
    path = tmp_path / "made"
    path.mkdir()
    (path / "a").write_text("old")

    def body():
        rename = os.replace
        monkeypatch.setattr("engine.files.os.replace", lambda a, b: rename(a, b) if b != path else os._exit(9))
        with whole_folder(path, replace=True) as new:
            (new / "a").write_text("new")

    assert in_child(body) == 9 and not path.exists()
    with pytest.raises(FileExistsError), whole_folder(path):
        pass
    assert (path / "a").read_text() == "old"


def test_tars_of_samples(tmp_path):
    samples = [(f"{k:03d}", {"jpg": bytes([k]) * k, "txt": b"t"}) for k in range(5)]
    written = write_tars(tmp_path, "train", iter(samples), 2)
    assert [path.name for path in written] == [f"train-0000{k}.tar" for k in range(3)] == sorted(os.listdir(tmp_path))
    found = []
    for path in written:
        with tarfile.open(path) as archive:
            found += [(m.name, archive.extractfile(m).read(), m.mtime, m.uid) for m in archive]
    assert found == [(f"{key}.{part}", data, 0, 0) for key, parts in samples for part, data in parts.items()]
    assert write_tars(tmp_path / "none", "train", [], 2) == []
