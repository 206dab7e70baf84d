"""Two ranks of which one is killed, or their agent, or both: no orphan, nothing lost, and --resume ends as a straight
run, to the last bit."""

import os
import signal
import time
from pathlib import Path

import pytest

from engine.distributed import die_with_parent
from engine.loop import AddressedLoop
from study.local import import_everything
from tests.engine.processes import forked
from tests.engine.ranks import ended, on_ranks
from tests.engine.test_launchers import is_gone
from tests.engine.test_resume import ITERS, KILLED_AT, assert_identical

CONFIG = "pretrain/configs/mae.py"


def train(configure, folder, **arguments) -> None:
    from study.run import run

    options = {"state_interval": 2, "progress_interval": 1, "global_batch_size": 8}
    run(configure(CONFIG, ITERS, folder, options=options, launcher="pytorch", **arguments), "test")


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """Where the run that nobody kills lies."""
    return tmp_path_factory.mktemp("straight") / "run"


def wait_for(condition, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.02)


@pytest.mark.parametrize("killed", ["rank", "agent", "both"])
def test_killed_ranks_leave_no_orphan_and_resume_exactly(configure, straight, tmp_path, killed):
    import_everything()  # once, before the forks
    if not straight.exists():
        assert ended(on_ranks(lambda _rank: train(configure, straight))) == [0, 0]
    broken, ids = tmp_path / "broken", tmp_path / "ids"
    ids.mkdir()

    def held(rank):
        """Train up to the iteration of the kill, then say who one is and wait in it."""
        run_iter = AddressedLoop.run_iter

        def hold(loop, batches):
            if loop.iter + 1 == KILLED_AT:
                (ids / f"{rank} {os.getpid()}").touch()
                signal.pause() if rank else None  # the other rank waits for this one's gradients
            run_iter(loop, batches)

        AddressedLoop.run_iter = hold
        train(configure, broken)

    def agent():
        """As torchrun does: start the ranks, and end them all once one of them has failed."""
        die_with_parent()  # of the test, should it fail
        assert ended(on_ranks(held), seconds=600) != [0, 0]

    parent = forked(agent)
    wait_for(lambda: len(list(ids.iterdir())) == 2)
    ranks = dict(map(int, path.name.split()) for path in ids.iterdir())
    if killed in ("rank", "both"):
        os.kill(ranks[1], signal.SIGKILL)
    if killed in ("agent", "both"):
        os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_for(lambda: all(map(is_gone, ranks.values())))
    assert [path.stem for path in sorted((broken / "state").glob("*.pt"))] == ["00000002", "00000004"]
    assert not (broken / "checkpoint").exists()
    assert ended(on_ranks(lambda _rank: train(configure, broken, resume=True))) == [0, 0]
    assert_identical(straight, broken)
