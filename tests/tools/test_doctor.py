"""tools/doctor.py: what is missing is named with its price, and the exit status says whether the demo can run."""

import json
from importlib.metadata import version

import pytest

from study import doctor
from tools import doctor as command


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_packages_are_right_other_or_missing(tmp_path):
    listed = tmp_path / "requirements.txt"
    listed.write_text(
        f"# a comment\nnumpy=={version('numpy')}   # arrays\nscipy==0.0.1\nno-such-package==1.0   # nothing at all\n"
    )
    found = by_name(doctor.packages(listed))
    assert found["packages"].text.startswith("1 of 3")
    assert (found["scipy"].state, found["no-such-package"].state) == ("note", "missing")
    assert f"{version('scipy')}, tried with 0.0.1" in found["scipy"].text
    assert "nothing at all" in found["no-such-package"].text


def test_the_headless_opencv_stands_in(monkeypatch):
    def installed(name):
        if name != "opencv-python-headless":
            raise doctor.importlib.metadata.PackageNotFoundError
        return "9.9"

    monkeypatch.setattr(doctor.importlib.metadata, "version", installed)
    assert doctor.version_of("opencv-python") == "9.9" and doctor.version_of("timm") is None


def test_a_library_that_breaks_at_import_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("raise OSError('libGL.so.1: no such file\\nmore')\n")
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = doctor.modules(["json", "broken_library"])
    assert (finding.state, finding.name) == ("missing", "broken_library")
    assert "libGL.so.1: no such file" in finding.text and "more" not in finding.text
    assert doctor.modules(["json"])[0].state == "ok"


def test_data_sets_are_ready_unchecked_or_missing(tmp_path):
    about = {"size": 64, "counts": {"pretrain": 8192, "test": 256}}
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "manifest.json").write_text(json.dumps(about))
    (tmp_path / "coco").mkdir()
    (tmp_path / "ade20k").mkdir()
    (tmp_path / "ade20k" / "prepared.json").write_text("{}")
    found = by_name(doctor.data_sets(tmp_path))
    assert found["scenes"].text == "64 pixels; 8,192 pretrain, 256 test"
    assert "first use" in found["scenes-study"].text
    assert {name: found[name].state for name in ("ade20k", "coco", "nyuv2")} == {
        "ade20k": "ok", "coco": "note", "nyuv2": "missing",
    }  # fmt: skip
    assert "tools/prepare.py coco" in found["coco"].text


def test_encoders_are_listed_by_scale(tmp_path):
    assert "none yet" in doctor.checkpoints(tmp_path)[0].text
    for place in ("tiny/pretrain/mae/seed0", "tiny/pretrain/clip/seed3", "study/pretrain/mae/seed0"):
        (tmp_path / place / "checkpoint").mkdir(parents=True)
        (tmp_path / place / "checkpoint" / "checkpoint.json").write_text("{}")
    (tmp_path / "tiny/pretrain/dino/seed0").mkdir(parents=True)  # not finished
    found = [(finding.name, finding.text) for finding in doctor.checkpoints(tmp_path)]
    assert found == [("study encoders", "mae"), ("tiny encoders", "clip, mae")]


def test_little_memory_and_disk_have_their_price(monkeypatch):
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 10**6)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 2**30}))
    found = by_name(doctor.machine())
    assert found["processor"].state == found["disk"].state == "note" and "JOBS=" in found["processor"].cost


@pytest.mark.parametrize("lost", [None, "torch"])
def test_one_screen_and_a_verdict(lost, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tools/doctor.py"])
    monkeypatch.setattr(command, "speed", lambda device, dtype: 5e13)
    if lost:
        version_of = doctor.version_of
        monkeypatch.setattr(doctor, "version_of", lambda name: None if name == lost else version_of(name))
    assert command.main() == (1 if lost else 0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) < 200
    assert lines[-1].startswith("make demo cannot run" if lost else "make demo can run")
    if not lost:
        price = next(line for line in lines if "--scale paper takes at least" in line)
        # 2.56 M images x 3 passes of ViT-B at 512: 2 x 86 M multiply-adds for each of 1024 tokens, and attention's
        flops = 3 * 2 * (1024 * 12 * 12 * 768**2 + 12 * 2 * 1024**2 * 768 + 1024 * 768 * 768)
        assert f"UperNet {2.56e6 * flops / 5e13 / 3600:.0f} h" in price
