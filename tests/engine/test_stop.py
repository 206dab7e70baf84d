"""Signals: the iteration ends, its state is written, the status says why; a resumed run ends as a straight one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from engine.stop import ONE_WISH, StopSignals
from tests.engine.processes import forked
from tests.engine.test_resume import ITERS, assert_identical

WORDS = {signal.SIGTERM: "SIGTERM", signal.SIGUSR1: "SIGUSR1", signal.SIGINT: "SIGINT"}


def signal_during(iteration: int, number: int) -> None:
    """From now on, send this process a signal in the middle of that iteration."""
    from engine.loop import AddressedLoop

    run_iter = AddressedLoop.run_iter

    def interrupted(loop, batches):
        if loop.iter + 1 == iteration:
            os.kill(os.getpid(), number)
        run_iter(loop, batches)

    AddressedLoop.run_iter = interrupted


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_goes_on_exactly(configure, in_child, tmp_path, capfd, number, status):
    """Reports every four iterations: the stop after the third comes between two of them."""
    config, folders = "pretrain/configs/mae.py", (tmp_path / "straight", tmp_path / "broken")
    options = {"state_interval": 4, "progress_interval": 4}

    def run(folder, **arguments):
        from study.run import run

        run(configure(config, ITERS, folder, options=options, **arguments), "test")

    def stopped():
        signal_during(3, number)
        try:
            run(folders[1])
        except SystemExit as end:
            os._exit(end.code)

    assert in_child(lambda: run(folders[0])) == 0
    capfd.readouterr()
    assert in_child(stopped) == status
    said = capfd.readouterr()
    assert f"{WORDS[number]}: stopped after iteration 3, its state is saved" in said.out
    assert "Traceback" not in said.err and "a second signal ends at once" in said.err
    assert [path.stem for path in (folders[1] / "state").glob("*.pt")] == ["00000003"]
    assert in_child(lambda: run(folders[1], resume=True)) == 0
    assert "after iteration 3" in capfd.readouterr().out
    assert_identical(*folders, rows=2)


def wait_for(numbers, folder):
    """Enter StopSignals, say so, and wait until the file "end" is there; status 0 if the first signal was noted."""
    with StopSignals() as stop:
        (folder / "ready").touch()
        while not (folder / "end").exists():
            time.sleep(0.01)
        assert stop.wanted == numbers[0]


def until(path):
    while not path.exists():
        time.sleep(0.01)


def test_signals_that_come_together_are_one_wish(tmp_path):
    child = forked(lambda: wait_for([signal.SIGINT], tmp_path))
    until(tmp_path / "ready")
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child, number)
        time.sleep(0.2)
    (tmp_path / "end").touch()
    assert os.waitpid(child, 0)[1] == 0


def test_a_second_signal_leaves_at_once(tmp_path):
    child = forked(lambda: wait_for([signal.SIGTERM], tmp_path))
    until(tmp_path / "ready")
    os.kill(child, signal.SIGTERM)
    time.sleep(ONE_WISH + 0.3)
    os.kill(child, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in WORDS]
    with StopSignals():
        assert [signal.getsignal(number) for number in WORDS] != before
    assert [signal.getsignal(number) for number in WORDS] == before


def test_minutes_save_in_between(configure, in_child, tmp_path):
    options = {"state_interval": 6, "progress_interval": 6, "state_minutes": 0}

    def run():
        from study.run import run

        signal_during(3, signal.SIGKILL)
        run(configure("pretrain/configs/mae.py", ITERS, tmp_path / "run", options=options), "test")

    assert in_child(run) == -signal.SIGKILL
    assert sorted(path.stem for path in (tmp_path / "run" / "state").glob("*.pt")) == ["00000001", "00000002"]


def test_a_real_command_with_workers(configure, tmp_path):
    """SIGTERM to the whole process group, as a batch system sends it."""
    cfg = configure("pretrain/configs/mae.py", 10_000)
    command = [sys.executable, "tools/train.py", "pretrain/configs/mae.py", "--data", str(tmp_path / "small.py"),
               "--work-dir", cfg.work_dir, "--cfg-options", "train_cfg.max_iters=10000", "progress_interval=1",
               "train_dataloader.batch_size=8", "train_dataloader.num_workers=2"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)  # fmt: skip
    until(tmp_path / "run" / "progress.json")
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "Traceback" not in out + err
    assert len(list((tmp_path / "run" / "state").glob("*.pt"))) == 1
    assert out.splitlines()[-1].startswith("SIGTERM: stopped after iteration")


def test_persistent_workers_end_with_their_process(configure, tmp_path):
    """Python ends them by SIGTERM, which they outlive in training, and waits."""
    cfg = configure("pretrain/configs/mae.py", 2)
    command = [sys.executable, "tools/train.py", "pretrain/configs/mae.py", "--data", str(tmp_path / "small.py"),
               "--work-dir", cfg.work_dir, "--cfg-options", "train_cfg.max_iters=2", "train_dataloader.batch_size=8",
               "train_dataloader.num_workers=2", "train_dataloader.persistent_workers=True"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr.count("Error"), done.stderr
