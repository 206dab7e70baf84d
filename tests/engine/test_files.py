"""Atomic writes: a reader sees the old file or the new one."""

import errno
import hashlib
import os
import resource
import signal
import stat
import tarfile
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.errors import UserError
from engine.files import (
    append_text,
    atomic_path,
    has_sha256,
    locked,
    sha256,
    sweep,
    whole_folder,
    write_json,
    write_tars,
    write_text,
    writing,
)
from tests.engine.processes import forked


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


def save_state(path):
    with open(path, "wb") as handle:
        torch.save({"w": torch.zeros(100_000)}, handle)


def save_array(path):
    with open(path, "wb") as handle:
        np.save(handle, np.zeros(100_000))


WRITERS = {
    "text": lambda path: path.write_text("x" * 400_000),
    "torch": save_state,
    "safetensors": lambda path: save_file({"w": torch.zeros(100_000)}, path),
    "numpy": save_array,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_beyond_the_limit_is_a_sentence(in_child, tmp_path, writer):
    """What `ulimit -f` does; a full disk differs in the number of the error alone."""
    path = tmp_path / "value"
    path.write_text("old")

    def write():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        with pytest.raises(UserError, match=f"{path} cannot be written .*: .*what stood there before is as it was"):  # noqa: SIM117
            with atomic_path(path) as temporary:
                WRITERS[writer](temporary)

    assert in_child(write) == 0
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["value"]


def test_a_full_device_is_a_sentence():
    with pytest.raises(UserError, match=r"/dev/full cannot be written \(No space left on device\): free space there"):
        append_text("/dev/full", "x" * 100_000)


def test_no_right_to_write_is_a_sentence(in_child, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "value").write_text("old")
    folder.chmod(0o555)

    def write():
        if os.geteuid() == 0:  # root may write anywhere
            for parent in [tmp_path, *tmp_path.parents[:3]]:
                parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
            os.setuid(65534)
        for attempt in (lambda: write_text(folder / "value", "new"), lambda: write_text(folder / "in" / "it", "new"),
                        whole_folder(folder / "whole").__enter__):  # fmt: skip
            with pytest.raises(UserError, match=r"cannot be written \(Permission denied\): give yourself the right"):
                attempt()

    assert in_child(write) == 0
    assert (folder / "value").read_text() == "old"


def test_a_vanished_folder_and_a_file_in_its_place_are_sentences(tmp_path):
    with pytest.raises(UserError, match="its folder is gone"):
        append_text(tmp_path / "gone" / "curve", "row")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a file stands where a folder is needed|File exists"):
        write_text(tmp_path / "file" / "deeper" / "value", "x")


def test_errors_about_other_files_pass(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "out"):
        (tmp_path / "elsewhere" / "input").read_text()
    with pytest.raises(OSError, match="busy"), writing(tmp_path / "out"):
        raise OSError(errno.EBUSY, "busy")
    with pytest.raises(UserError, match="^inner$"), writing(tmp_path / "out"):
        raise UserError("inner")


def leave_temporary(path, die):
    """A writer in the middle of a file."""
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        (os.kill(os.getpid(), signal.SIGKILL)) if die else time.sleep(60)


def test_what_dead_writers_left_is_swept_and_living_ones_are_not(in_child, tmp_path):
    assert in_child(lambda: leave_temporary(tmp_path / "a", die=True)) == -signal.SIGKILL
    assert len(list(tmp_path.glob(".a.*.tmp"))) == 1
    living = forked(lambda: leave_temporary(tmp_path / "c", die=False))
    try:
        while not list(tmp_path.glob(f".c.{living}.tmp")):
            time.sleep(0.01)
        time.sleep(0.1)
        sweep.cache_clear()
        write_text(tmp_path / "d", "whole")
        assert sorted(os.listdir(tmp_path)) == [f".c.{living}.tmp", "d"]
    finally:
        os.kill(living, signal.SIGKILL)
        os.waitpid(living, 0)


def test_who_waits_for_a_lock_says_so(tmp_path, capfd):
    def wait():
        while not (tmp_path / "held").exists():
            time.sleep(0.01)
        with locked(tmp_path / "lock", "waiting for it"):
            assert not (tmp_path / "held").exists()

    child = forked(wait)  # before the lock is taken, which a later child would share
    with locked(tmp_path / "lock", "never printed"):
        (tmp_path / "held").touch()
        time.sleep(0.5)
        (tmp_path / "held").unlink()
    assert os.waitpid(child, 0)[1] == 0 and capfd.readouterr().out == "waiting for it\n"


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


def test_a_disk_that_fills_while_a_folder_is_made_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"out cannot be written .No space left"), whole_folder(tmp_path / "out") as new:
        raise OSError(errno.ENOSPC, "No space left on device", str(new / "deep" / "file"))
    assert not os.listdir(tmp_path)


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


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    path, read = tmp_path / "weights", []
    monkeypatch.setattr("engine.files.sha256", lambda file: read.append(file) or sha256(file))
    path.write_bytes(b"one")
    digest = hashlib.sha256(b"one").hexdigest()
    assert has_sha256(path, digest) and has_sha256(path, digest)
    assert len(read) == 2  # just written: a further change might leave its times as they are
    later = time.time_ns() + 3_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert has_sha256(path, digest) and has_sha256(path, digest) and not has_sha256(path, "0" * 64)
    assert len(read) == 3
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"two")
    os.utime(path, ns=(stamp, stamp))  # only the change time, which nobody can set, tells
    assert not has_sha256(path, digest) and len(read) == 4
