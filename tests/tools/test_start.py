"""What commands share: one line and a status for bad input and for an interruption, libraries only when needed."""

import argparse
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import DictAction

import start
from engine.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def ending(monkeypatch, main, **arguments):
    monkeypatch.setattr(sys, "argv", ["tools/some.py", "a", "b"])
    with pytest.raises(SystemExit) as end:
        start.run(main, **arguments)
    return end.value.code


def test_statuses(monkeypatch, capsys):
    met = []
    assert ending(monkeypatch, met.append) is None and met == [["a", "b"]]
    assert ending(monkeypatch, lambda words: 1) == 1
    assert capsys.readouterr().err == ""

    def refuse(words):
        raise UserError("this file is broken: mend it")

    def interrupt(words):
        raise KeyboardInterrupt

    assert ending(monkeypatch, refuse) == 2 and capsys.readouterr().err == "error: this file is broken: mend it\n"
    assert ending(monkeypatch, interrupt, advice="go on") == 130 and capsys.readouterr().err == "interrupted: go on\n"

    def write_on(words):
        raise BrokenPipeError

    monkeypatch.setattr(os, "dup2", lambda *files: met.append(files))
    assert ending(monkeypatch, write_on) == 141 and capsys.readouterr().err == "" and len(met) == 2
    with pytest.raises(ZeroDivisionError):  # a fault of ours keeps its traceback
        start.run(lambda words: 1 / 0)


def test_threads_are_a_default(monkeypatch):
    for given, threads, left in ((None, 1, "1"), (None, 3, "3"), ("7", 3, "7")):
        monkeypatch.delenv("OMP_NUM_THREADS")
        if given:
            monkeypatch.setenv("OMP_NUM_THREADS", given)
        ending(monkeypatch, lambda words: None, threads=threads)
        assert os.environ["OMP_NUM_THREADS"] == left


def test_options_are_those_of_mmengine():
    words = ["--o", "a.b=1", "c=[1,2]", "d=(x,y)", "e=5e-4", "f=true", "g=None", "h=a=b"]
    results = []
    for action in (start.KeyValues, DictAction):
        parser = argparse.ArgumentParser()
        parser.add_argument("--o", nargs="+", action=action, default={})
        results.append(parser.parse_args(words).o)
        assert parser.parse_args([]).o == {}
    assert results[0] == results[1] and results[0]["c"] == [1, 2] and results[0]["e"] == 5e-4


def test_an_interruption_is_one_line(tmp_path):
    """SIGINT as a terminal sends it, while an export of scenes works."""
    words = [sys.executable, "tools/scenes.py", "--out", str(tmp_path / "scenes"), "--processes", "1"]
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background may ignore it
    command = subprocess.Popen([*words, "--counts", "pretrain=100000"], cwd=ROOT, stderr=subprocess.PIPE, text=True,
                               preexec_fn=heed)  # fmt: skip
    try:
        while command.poll() is None and not any(tmp_path.glob("*/*")):
            time.sleep(0.05)
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=60)
    finally:
        command.kill()
    assert command.returncode == 130, said
    assert said.splitlines()[-1] == "interrupted: the same command goes on where it stopped" and "Traceback" not in said
