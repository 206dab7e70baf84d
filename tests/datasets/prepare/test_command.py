"""The entry point itself: help of every kind, exit status, one sentence on standard error."""

import runpy
import sys

import pytest

from datasets.prepare.findings import Findings
from datasets.prepare.images import trial_size
from tools import prepare as tool


@pytest.mark.parametrize("kind", tool.KINDS)
def test_help_of_every_kind(kind, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tools/prepare.py", kind, "--help"])
    monkeypatch.setenv("COLUMNS", "200")  # argparse breaks lines at hyphens
    with pytest.raises(SystemExit) as end:
        tool.main()
    shown = capsys.readouterr().out
    assert end.value.code == 0 and "--out FOLDER" in shown and "SOURCE" in shown
    published = kind not in ("coco-format", "mmseg-folder", "depth-folder", "image-text", "captions", "image-folder")
    assert ("--allow-subset" in shown) == published == (f"data/{kind})" in shown)


def test_a_refusal_ends_with_one_sentence_and_status_2(tmp_path, monkeypatch, capsys):
    words = ["mmseg-folder", str(tmp_path / "absent"), "--out", str(tmp_path / "o")]
    monkeypatch.setattr(sys, "argv", ["tools/prepare.py", *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(tool.__file__, run_name="__main__")
    shown = capsys.readouterr()
    assert end.value.code == 2 and shown.out == "" and len(shown.err.splitlines()) == 1
    assert shown.err.startswith("error: there is no") and not (tmp_path / "o").exists()


def test_the_screen_names_the_first_of_many():
    findings = Findings()
    for k in range(1200):
        findings.problem("broken thing", f"file {k}")
    findings.count("train", "images", 1234567)
    text = findings.text()
    assert "broken thing: 1,200" in text and "file 3" in text and "file 4" not in text and "1,234,567 images" in text
    assert len(text.splitlines()) == 7


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17])
def test_a_sample_spans_first_to_last(count):
    findings = Findings()
    findings.take_sample([str(k) for k in range(count)])
    taken = [int(path) for path in findings.sample]
    assert taken[0] == 0 and len(taken) == min(count, 4) == len(set(taken))
    assert taken[-1] == count - 1 and taken == sorted(taken)


def test_the_size_for_trials_keeps_proportions():
    assert trial_size([(360, 480)] * 3) == (96, 128), "as docs/overlays/camvid.py states it"
    assert trial_size([(480, 640), (640, 480), (480, 640)]) == (96, 128)
    assert trial_size([(4000, 3000)]) == (128, 96) and trial_size([(8, 12)]) == (96, 128)
