"""Files made on first use: once, checked at every reading, and made again where they are not what was made."""

import os
import signal
import subprocess
import time

import pytest

from datasets.shards import list_shards, load_index
from engine.caches import ensure_cached
from engine.errors import UserError
from pretrain.data.captions import shard_vocabulary
from pretrain.data.tags import tag_vocabulary
from tests.engine.processes import forked


def maker(calls, content="content"):
    def make(path):
        calls.append(path)
        path.write_text(content)

    return make


def test_it_is_made_once_and_its_checksum_is_that_of_sha256sum(tmp_path):
    calls = []
    for _ in range(3):
        assert ensure_cached(tmp_path / "made", maker(calls)).read_text() == "content"
    assert len(calls) == 1
    done = subprocess.run(["sha256sum", "-c", "made.sha256"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "made: OK\n")


@pytest.mark.parametrize("byte", range(7))
def test_any_flipped_byte_is_seen(tmp_path, capsys, byte):
    path, calls = tmp_path / "made", []
    ensure_cached(path, maker(calls))
    data = bytearray(path.read_bytes())
    data[byte] ^= 4
    path.write_bytes(data)
    assert ensure_cached(path, maker(calls)).read_text() == "content" and len(calls) == 2
    assert capsys.readouterr().out == f"warning: {path} does not fit its checksum; it is made again\n"


@pytest.mark.parametrize("checksum", [None, b"", b"\xff\xfe", b"0" * 64 + b"  made\n"])
def test_a_checksum_that_is_gone_or_damaged(tmp_path, checksum):
    path, calls = tmp_path / "made", []
    ensure_cached(path, maker(calls))
    seal = tmp_path / "made.sha256"
    seal.unlink() if checksum is None else seal.write_bytes(checksum)
    ensure_cached(path, maker(calls))
    ensure_cached(path, maker(calls))
    assert len(calls) == 2


def test_what_fails_leaves_nothing(tmp_path):
    def fail(path):
        path.write_text("half")
        raise UserError("no data")

    with pytest.raises(UserError, match="no data"):
        ensure_cached(tmp_path / "made", fail)
    assert [*map(str, os.listdir(tmp_path))] == [".made.lock"]


def slow(log):
    def make(path):
        with open(log, "a") as handle:
            handle.write("made\n")
        time.sleep(0.4)
        path.write_text("content")

    return make


def test_many_processes_make_it_once(tmp_path):
    children = [forked(lambda: ensure_cached(tmp_path / "made", slow(tmp_path / "log"))) for _ in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert (tmp_path / "log").read_text() == "made\n"


def test_a_killed_maker_gives_way(tmp_path):
    child = forked(lambda: ensure_cached(tmp_path / "made", lambda path: time.sleep(60)))
    while not (tmp_path / ".made.lock").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert ensure_cached(tmp_path / "made", maker([])).read_text() == "content"


def places_of(root):
    index = load_index(root)
    return [index.blocks(number).tolist() for number in range(len(index.shards))]


USES = {
    "counts": lambda root: places_of(root),
    "tars/shards-pretrain-00000.tar": lambda root: places_of(root),
    "vocabulary": lambda root: shard_vocabulary(root),
    "tags": lambda root: tag_vocabulary(root, "*.tar", "enriched", 2),
}


@pytest.mark.parametrize("name", USES)
def test_each_cache_of_a_shard_folder(scenes_root, tmp_path, capsys, name):
    root = tmp_path / "shards"
    root.mkdir()
    for shard in list_shards(scenes_root / "shards", "*.tar"):
        (root / shard.name).symlink_to(shard)
    good = USES[name](root)
    (path,) = (tmp_path / ".shards.index").glob(f"{name}-*[!6]")
    before = path.read_bytes()
    for place in range(0, len(before), max(1, len(before) // 10)):
        data = bytearray(before)
        data[place] ^= 16
        path.write_bytes(data)
        assert USES[name](root) == good and path.read_bytes() == before
        assert f"{path} does not fit its checksum" in capsys.readouterr().out
