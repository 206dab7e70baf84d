"""Flipped bytes, cuts and wrong types in the files of a run: the older state, or one sentence; never a traceback."""

import json
import random
from pathlib import Path

import pytest
import torch

from backbones import read_checkpoint
from backbones.ledger import Ledger, read_ledger
from engine.errors import UserError
from engine.files import SEAL, read_object, seal_holds, sealed, sha256, write_json
from engine.resume import newest_state
from engine.run_folder import open_run, read_run
from reports.records import read_record
from study.cells import Cell
from tests.engine.test_run_folder import begin

FLIPS = 60  # of each file, from a fixed seed


def flipped(path: Path, seed: int) -> None:
    """Change one bit of a file, at a place drawn from `seed`."""
    draw, data = random.Random(seed), bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def same_json(path: Path, before: bytes) -> bool:
    """Whether a damaged file still says what it said, as where a blank became another."""
    try:
        return json.loads(path.read_bytes()) == json.loads(before)
    except ValueError:
        return False


def write_state(folder: Path, iteration: int) -> None:
    path = folder / f"{iteration:08d}.pt"
    folder.mkdir(exist_ok=True)
    torch.save({"iteration": iteration, "config_hash": "c", "wall_s": 1.0, "model": {"w": torch.ones(4)},
                "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}, "schedulers": []}, path)  # fmt: skip
    write_json(path.with_suffix(".json"), {"schema": "densebench/state", "version": 1, "sha256": sha256(path)})


@pytest.mark.parametrize("suffix", [".pt", ".json"])
def test_a_flipped_byte_of_the_newest_state(tmp_path, capsys, suffix):
    write_state(tmp_path, 2)
    write_state(tmp_path, 4)
    file = (tmp_path / "00000004").with_suffix(suffix)
    before = file.read_bytes()
    for seed in range(FLIPS):
        file.write_bytes(before)
        flipped(file, seed)
        found, said = newest_state(tmp_path)["iteration"], capsys.readouterr().out
        if suffix == ".json" and same_json(file, before):
            assert found == 4 and not said
        else:
            assert found == 2 and said.startswith("warning:") and said.count("\n") == 1 and "00000004.pt" in said


@pytest.mark.parametrize("manifest", [
    "", "[]", "null", '{"schema": "densebench/state", "version": 2, "sha256": ""}',
    '{"schema": "densebench/state", "version": 1, "sha256": 5}', "[" * 100_000,
])  # fmt: skip
def test_manifests_of_other_kinds(tmp_path, capsys, manifest):
    write_state(tmp_path, 2)
    write_state(tmp_path, 4)
    (tmp_path / "00000004.json").write_text(manifest)
    assert newest_state(tmp_path)["iteration"] == 2
    assert "trying the state before it" in capsys.readouterr().out
    (tmp_path / "00000002.json").unlink()
    with pytest.raises(UserError, match="no state in .* is whole"):
        newest_state(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04cos\nsystem\n(S'true'\ntR.", b"no zip"])
def test_what_is_no_state_under_a_right_checksum(tmp_path, capsys, content):
    write_state(tmp_path, 2)
    (tmp_path / "00000004.pt").write_bytes(content)
    about = {"schema": "densebench/state", "version": 1, "sha256": sha256(tmp_path / "00000004.pt")}
    write_json(tmp_path / "00000004.json", about)
    assert newest_state(tmp_path)["iteration"] == 2
    assert "00000004.pt is no state" in capsys.readouterr().out


def refused_or_same(path: Path, read) -> int:
    """Flip bytes of `path`; each time `read` must refuse in one line that names it. Returns how many were refused."""
    before, refused, good = path.read_bytes(), 0, read()
    for seed in range(FLIPS):
        path.write_bytes(before)
        flipped(path, seed)
        try:
            assert read() == good and same_json(path, before), f"flip {seed} was accepted"
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and str(path.parent) in str(error)
    path.write_bytes(before)
    for cut in range(0, len(before) - 1, max(1, len(before) // 30)):
        path.write_bytes(before[:cut])
        with pytest.raises(UserError):
            read()
    for other in (b"[]", b"5", b"null", b'"text"', b"{}", b"\xff", b"[" * 100_000):
        path.write_bytes(other)
        with pytest.raises(UserError):
            read()
    return refused


def test_run_json(tmp_path):
    begin(tmp_path)
    assert refused_or_same(tmp_path / "run.json", lambda: read_run(tmp_path)) > FLIPS // 2


def test_checkpoint_json(checkpoint):
    folder = checkpoint()
    assert SEAL in json.loads((folder / "checkpoint.json").read_text())
    assert refused_or_same(folder / "checkpoint.json", lambda: read_checkpoint(folder)) > FLIPS // 2


def test_ledger_json(tmp_path):
    path = tmp_path / "ledger.json"
    write_json(path, Ledger(("a.weight", "b.bias"), {"x": "y"}, {}, {"head": "no place"}, {}).document())
    assert refused_or_same(path, lambda: read_ledger(path)) > FLIPS // 2


def test_result_json(tmp_path, monkeypatch, finish):
    monkeypatch.chdir(tmp_path)
    cell = Cell("tiny", "upernet", "mae", 0)
    finish(cell)
    assert refused_or_same(cell.outcome, lambda: read_record(cell.outcome)) > FLIPS // 2


@pytest.mark.parametrize("document", [{"a": 1.5, "b": [1, {"c": "ä"}]}, {}])
def test_seals(document):
    made = sealed(document)
    assert {**document, SEAL: made[SEAL]} == made and seal_holds(made) and seal_holds(document)
    assert seal_holds(json.loads(json.dumps(made))), "what is read is what was sealed"
    assert not seal_holds({**made, "a": 2}) and not seal_holds({**made, SEAL: "0" * 64})


def test_states_without_run_json_are_kept_on_resume(tmp_path):
    cfg = begin(tmp_path)
    write_state(tmp_path / "state", 2)
    (tmp_path / "run.json").unlink()
    cfg.resume = True
    open_run(cfg, {}, "test")
    assert (tmp_path / "state" / "00000002.pt").is_file()


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"a": "1", "b": 1}', b"\xff", b"[" * 20_000, b'{"a": true}'])
def test_any_damage_of_a_json_object_is_a_sentence(tmp_path, content):
    (tmp_path / "it.json").write_bytes(content)
    with pytest.raises(UserError, match="it.json is damaged .*: make it again"):
        read_object(tmp_path / "it.json", "make it again", a=int, b=float)
    with pytest.raises(UserError, match="cannot be read .No such file or directory.: make it again"):
        read_object(tmp_path / "none.json", "make it again")
    (tmp_path / "it.json").write_text('{"a": 1, "b": 2, "c": null}')
    assert read_object(tmp_path / "it.json", "", a=int, b=float) == {"a": 1, "b": 2, "c": None}
