"""Processes that train together, forked from a test: whatever happens to one of them, none outlives the test."""

import os
import signal
import time
from collections.abc import Callable, Sequence

from tests.engine.processes import forked
from tests.engine.test_launchers import free_port


def as_rank(number: int, ranks: int, port: str) -> None:
    """Take the variables by which torchrun tells a process who it is."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=port)  # fmt: skip


def on_ranks(work: Callable[[int], object], ranks: int = 2) -> list[int]:
    """Ids of forked processes that run `work(rank)` as those of one launcher."""
    port = free_port()
    return [forked(lambda rank=rank: (as_rank(rank, ranks, port), work(rank))) for rank in range(ranks)]


def ended(children: Sequence[int], seconds: float = 120) -> list[int]:
    """Exit statuses (negative: a signal) of processes; once one has failed or time is up, the others are killed."""
    statuses, until = {}, time.monotonic() + seconds
    while len(statuses) < len(children):
        for child in (child for child in children if child not in statuses):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                statuses[child] = os.waitstatus_to_exitcode(status)
                until = min(until, time.monotonic() + 10) if status else until
            elif time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return [statuses[child] for child in children]
