"""Atomic writes: a reader sees the old file or the new one."""

import hashlib
import os

import pytest

from engine.files import atomic_path, sha256, write_json, write_text


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
