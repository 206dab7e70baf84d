"""Cells that test an encoder on whole images, run as the study runs them: in a process of their own, with a log."""

import pytest

from reports.records import read_record
from study import cells as grid
from study.local import run_cell
from study.studies import Study


@pytest.fixture
def cell(here, checkpoint, scenes_root, tmp_path, monkeypatch):
    """The k-NN cell of a random encoder on the small export, and the file of its data section."""
    found = Study("tiny", ("mae",), ("knn",), (0,), None).cells()[-1]
    checkpoint("mae", folder=here / found.encoder)
    folders = {split: str(scenes_root / "imagefolder" / split) for split in ("pretrain", "test")}
    overlay = tmp_path / "folders.py"
    overlay.write_text(
        f"data = dict(name='small-scenes', kind='image_folder', root={str(scenes_root)!r}, "
        f"train={folders['pretrain']!r}, test={folders['test']!r})\n"
    )
    load = grid.load_config
    monkeypatch.setattr(grid, "load_config", lambda *values, **named: load(*values, data=str(overlay), **named))
    return found, overlay


def test_a_record_in_the_cells_folder(cell, in_child):
    knn, _ = cell
    assert knn.status() == "open"
    assert in_child(run_cell, knn) == 0, (knn.folder / "log.txt").read_text()
    assert knn.status() == "ok"
    record = read_record(knn.outcome)
    assert (record["task"], record["method"], record["seed"], record["head"]) == ("knn", "mae", 0, "20-NN")
    assert record["command"] == knn.command and record["protocol"] == "small-scenes-knn-tiny-v1"


def test_a_failure_is_recorded_and_tried_again(cell, in_child):
    knn, overlay = cell
    good = overlay.read_text()
    overlay.write_text(good.replace("imagefolder/test", "imagefolder/nowhere"))
    assert in_child(run_cell, knn) == 1
    record = read_record(knn.outcome)
    assert record["status"] == "failed" and "there is no folder of classes" in record["error"]
    assert record["metrics"] == {} and record["settings"]["lr"] is None
    knn.outcome.unlink()  # as the scheduler does before it tries again
    overlay.write_text(good)
    assert in_child(run_cell, knn) == 0 and knn.status() == "ok"
