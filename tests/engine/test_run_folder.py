"""The folder of a run: finished runs are immutable, others resume only as they were begun."""

import json
import os
import signal
import time

import pytest

from engine.config import hashed_content
from engine.errors import UserError
from engine.run_folder import check_unfinished, flatten, occupied, open_run, read_run
from study.configure import load_config
from tests.engine.processes import forked


def test_finished_runs_are_immutable(tmp_path):
    check_unfinished(tmp_path)
    check_unfinished(tmp_path / "not there")
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UserError, match="already holds a finished result: choose another --work-dir, or delete"):
        check_unfinished(tmp_path)
    with pytest.raises(UserError, match="result.json is a file: choose another --work-dir"):
        check_unfinished(tmp_path / "result.json")
    (tmp_path / "result.json").rename(tmp_path / "old.json")
    (tmp_path / "checkpoint").mkdir()
    check_unfinished(tmp_path)
    (tmp_path / "checkpoint/checkpoint.json").write_text("{}")
    with pytest.raises(UserError, match="already holds a finished pretraining"):
        check_unfinished(tmp_path)


def begin(folder, resume=False, **options):
    cfg = load_config("depth/configs/mae.py", work_dir=str(folder), options=options, resume=resume)
    open_run(cfg, flatten(hashed_content(cfg)), "python tools/train.py depth/configs/mae.py")
    return cfg


def test_a_run_states_how_it_was_begun(tmp_path):
    cfg = begin(tmp_path)
    document = read_run(tmp_path)
    assert document["config_hash"] == cfg.config_hash and document["method"] == "mae" and document["seed"] == 0
    assert document["config"]["train_cfg.max_iters"] == cfg.train_cfg.max_iters
    assert document["config"]["train_dataloader.dataset.pipeline.0.type"] == "LoadImageStrict"


def test_resuming_with_other_settings_names_them(tmp_path):
    begin(tmp_path)
    (tmp_path / "state").mkdir()
    begin(tmp_path, resume=True)
    assert (tmp_path / "state").is_dir(), "a resume keeps the states"
    with pytest.raises(UserError, match=r"optim_wrapper.optimizer.lr 0.002 -> 0.5\): resume with the same"):
        begin(tmp_path, resume=True, **{"optim_wrapper.optimizer.lr": 0.5})
    begin(tmp_path, **{"optim_wrapper.optimizer.lr": 0.5})
    assert not (tmp_path / "state").exists(), "a fresh start leaves no older run's state behind"


@pytest.mark.parametrize("damage", [{"version": 2}, {"schema": "other"}, {"surplus": 1}])
def test_a_folder_of_another_format_is_refused(tmp_path, damage):
    begin(tmp_path)
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(UserError, match="is not of densebench/run version 1"):
        begin(tmp_path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        begin(tmp_path)


def test_a_second_start_is_refused_until_the_first_has_ended(tmp_path, in_child):
    folder = tmp_path / "run"

    def second():
        with pytest.raises(UserError) as error, occupied(folder):
            pass
        assert str(error.value).startswith(f"{folder} is in use by process {os.getppid()} on ")
        assert "another --work-dir" in str(error.value) and "\n" not in str(error.value)

    with occupied(folder):
        assert in_child(second) == 0
    with occupied(folder):
        pass


def test_a_killed_run_frees_its_folder_though_a_worker_of_its_lives_on(tmp_path):
    def begin_with_a_worker():
        with occupied(tmp_path):
            (tmp_path / "worker").write_text(str(forked(lambda: time.sleep(60))))
            time.sleep(60)

    run = forked(begin_with_a_worker)
    while not (tmp_path / "worker").exists() or not (tmp_path / "worker").read_text():
        time.sleep(0.01)
    worker = int((tmp_path / "worker").read_text())
    try:
        os.kill(run, signal.SIGKILL)
        os.waitpid(run, 0)
        os.kill(worker, 0)
        with occupied(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)
