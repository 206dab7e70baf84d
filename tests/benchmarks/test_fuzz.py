"""benchmarks/fuzz.py: a short run finds nothing, and what it is to find, it finds, counts and keeps."""

import json
import os
import signal
import time

from benchmarks import fuzz
from benchmarks.fuzzing.children import Ending, ended
from benchmarks.fuzzing.kinds import Kind
from engine.errors import UserError


def test_damaged_inputs_of_every_kind_are_refused_in_a_sentence_or_accepted(in_child, tmp_path):
    def run() -> None:
        words = ["--inputs", "200", "--seed", "5", "--quiet", "--seconds", "120", "--out", str(tmp_path / "found")]
        assert fuzz.main(words) == 0

    assert in_child(run) == 0, f"see {tmp_path}/found"


def test_how_a_process_ends_is_told_of_the_input_it_was_at():
    def work(number: int) -> Ending:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 2:
            time.sleep(1.5)  # as one that waits for a core
        if number == 5:
            time.sleep(60)
        if number == 7:
            os._exit(4)
        return Ending("accepted", str(number))

    found = dict(ended(list(range(9)), work, jobs=2, seconds=1, memory=1 << 30))
    words = dict.fromkeys(range(9), "accepted") | {3: "crash", 5: "hang", 7: "crash"}
    assert {k: end.word for k, end in found.items()} == words
    assert found[3].why == "SIGKILL" and found[7].why == "ended with status 4"


def read_toy(folder):
    """A reader with a fault of each kind."""
    try:
        number = json.loads((folder / "a.json").read_text())["deep"]["number"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError("no number: give one") from None
    if isinstance(number, str):
        number + 1
    if isinstance(number, list):
        bytearray(1 << 40)
    return "two is wrong" if number == 2 else None


def test_faults_are_counted_and_their_smallest_input_is_kept(tmp_path, capsys):
    kinds = {"toy": Kind([{"a.json": b'{"deep": {"number": 1}, "other": [1, 2]}'}], read_toy)}
    args = fuzz.parse_arguments(["--inputs", "300", "--quiet", "--jobs", "1", "--out", str(tmp_path)])
    fuzzer = fuzz.Fuzzer(kinds, args)
    fuzzer.run()
    fuzzer.keep()
    words = {fault.split(": ")[1] for fault in fuzzer.faults}
    assert words == {"traceback", "memory", "wrong"} and sum(fuzzer.counts["toy"].values()) == 300
    assert all(fuzzer.counts["toy"][word] for word in ("refused", "accepted", *words))
    (kept,) = {one.number for fault, (one, *_) in fuzzer.faults.items() if "traceback" in fault}
    folder = tmp_path / f"toy-{kept}"
    assert isinstance(json.loads((folder / "input/a.json").read_text())["deep"]["number"], str)
    assert fuzz.again(kinds, folder) == 1 and "TypeError" in capsys.readouterr().err
    assert "| toy | 300 |" in fuzzer.table()


def test_an_input_is_named_by_seed_kind_and_number():
    kinds = {"toy": Kind([{"a.json": b'{"a": [1, 2, {"b": "c"}]}'}], read_toy)}
    made = [fuzz.files_of(kinds, seed, fuzz.Input("toy", k)) for seed in (0, 0, 1) for k in range(30)]
    assert made[:30] == made[30:60] != made[60:]
    one = fuzz.Input("toy", next(k for k in range(30) if fuzz.edit_count(0, fuzz.Input("toy", k)) > 1))
    assert fuzz.files_of(kinds, 0, one._replace(kept=())) == kinds["toy"].good[0]
