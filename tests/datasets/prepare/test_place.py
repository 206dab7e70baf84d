"""The folder of prepared data on a disk that refuses: a sentence, and the same call works once there is room."""

import errno
import os
import shlex
from pathlib import Path

import pytest

from datasets.prepare.place import MANIFEST, MARK, Place
from engine.errors import UserError
from engine.provenance import REPOSITORY


@pytest.fixture
def place(tmp_path) -> Place:
    """A place whose source holds one folder of images."""
    (tmp_path / "mine/images").mkdir(parents=True)
    (tmp_path / "mine/images/a.png").write_bytes(b"a")
    return Place(tmp_path / "out", "segmentation", tmp_path / "mine")


def link(place: Place) -> None:
    place.link("images", place.source / "images")


def folder(place: Place) -> None:
    with place.folder("labels", {"from": "mine"}) as new:
        if new is not None:
            (new / "a.png").write_bytes(b"b")


def overlay(place: Place) -> None:
    place.write_overlay({"name": "mine"}, {}, "prepare", "remarks")


def finish(place: Place) -> None:
    place.finish({"settings": {}, "listing": "", "checksums": {}, "summary": ""})


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("step", [link, folder, overlay, finish])
def test_a_refusing_disk_is_a_sentence_and_the_step_can_be_repeated(place, step, code, monkeypatch):
    link(place)
    place.link("more", place.source)  # stands before, and after
    (place.out / "images").unlink()

    def refuse(*_args, **_words):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as disk:
        disk.setattr(os, "replace", refuse)
        disk.setattr(os, "rename", refuse)
        with pytest.raises(UserError, match=f"cannot be written .{os.strerror(code)}"):
            step(place)
    assert (place.out / "more").resolve() == place.source.resolve()
    assert not (place.out / "images").exists() and not (place.out / "labels").exists()
    assert (place.out / MARK).is_file() and not (place.out / MANIFEST).exists(), "it is not called prepared"
    step(place)
    made = {link: "images/a.png", folder: "labels/a.png", overlay: "overlay.py", finish: MANIFEST}[step]
    assert (place.out / made).is_file()


def test_the_next_command_is_what_a_shell_takes_here(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = Place(Path("my data's"), "mmseg-folder", place.source)
    _, tool, config, option, overlay = shlex.split(place.next_command("python tools/train.py x.py", overlay=True))
    assert Path(tool).resolve() == REPOSITORY / "tools/train.py" and config == "x.py"
    assert (option, overlay) == ("--data", "my data's/overlay.py")
    assert "--data" not in place.next_command("python tools/train.py x.py", overlay=False)


def test_a_link_is_not_put_over_what_is_no_link(place):
    (place.out / "images").mkdir(parents=True)
    with pytest.raises(UserError, match="in the way of a link"):
        link(place)
