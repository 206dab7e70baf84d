"""torchrun with two ranks, of which one is killed, or the agent, or both: no process stays, nothing is lost, and
--resume ends as a run that nobody killed, to the last bit."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.resume import newest_state
from study.local import import_everything
from tests.engine.ranks import ended, on_ranks
from tests.engine.test_launchers import is_gone
from tests.engine.test_resume import assert_identical

CONFIG, ITERS = "pretrain/configs/mae.py", 24
OPTIONS = {"state_interval": 2, "progress_interval": 1, "global_batch_size": 8}


def train(configure, folder, **arguments) -> None:
    from study.run import run

    run(configure(CONFIG, ITERS, folder, options=OPTIONS, launcher="pytorch", **arguments), "test")


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """Where the run that nobody kills lies."""
    return tmp_path_factory.mktemp("straight") / "run"


@contextlib.contextmanager
def torchrun(overlay: Path, folder: Path):
    """The agent of a training of two ranks; whatever happens, nothing of it outlives the test."""
    options = {"train_cfg.max_iters": ITERS, "train_dataloader.batch_size": 8, **OPTIONS}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "tools/train.py",
               CONFIG, "--launcher", "pytorch", "--data", overlay, "--work-dir", folder,
               "--cfg-options", *(f"{key}={value}" for key, value in options.items())]  # fmt: skip
    with open(folder.with_name("said"), "w") as said:
        agent = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        yield agent
    finally:
        for process in [*processes_of(folder), agent.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        agent.wait()


def processes_of(folder: Path) -> dict[int, str]:
    """Number -> rank, empty of the agent, of all processes whose command line names a folder."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (place / "cmdline").read_bytes().split(b"\0"):
                variables = dict(pair.partition("=")[::2] for pair in (place / "environ").read_text().split("\0"))
                found[int(place.name)] = variables.get("RANK", "")
    return found


def wait_for(condition, said: Path, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"it never came to that:\n{said.read_text()[-3000:]}"
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [["1"], [""], ["", "0"]], ids=["rank", "agent", "both"])
def test_killed_ranks_leave_no_orphan_and_resume_exactly(configure, straight, tmp_path, killed):
    broken, said = tmp_path / "broken", tmp_path / "said"
    configure(CONFIG, ITERS, broken)  # writes the data overlay
    with torchrun(tmp_path / "small.py", broken) as agent:
        wait_for(lambda: [*(broken / "state").glob("*.json")], said)
        processes = processes_of(broken)
        assert sorted(processes.values()) == ["", "0", "1"] and processes[agent.pid] == ""
        for process, rank in processes.items():
            if rank in killed:
                os.kill(process, signal.SIGKILL)
        assert agent.wait(60) == (-signal.SIGKILL if "" in killed else 1)
        wait_for(lambda: all(map(is_gone, processes)) and not processes_of(broken), said)
    assert 2 <= newest_state(broken / "state")["iteration"] < ITERS and not (broken / "checkpoint").exists()
    import_everything()  # once, before the forks
    if not straight.exists():
        assert ended(on_ranks(lambda _rank: train(configure, straight))) == [0, 0]
    assert ended(on_ranks(lambda _rank: train(configure, broken, resume=True))) == [0, 0]
    assert_identical(straight, broken, rows=ITERS)
