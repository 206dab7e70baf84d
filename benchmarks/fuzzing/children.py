"""Work on inputs in forked processes that may crash, hang or take all memory, and say how each of them ended.

The parent has imported everything, so a process costs a fork. Each works on a batch and tells after every input; where
it dies or falls silent, the input it was at is to blame, and another process goes on behind it.
"""

import json
import os
import resource
import selectors
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

BATCH = 20  # inputs for one process: what one leaves behind meets few others


class Ending(NamedTuple):
    """How the work on an input ended: one of ENDINGS, and why in one line."""

    word: str
    why: str = ""


ENDINGS = ("refused", "accepted", "wrong", "traceback", "crash", "hang", "memory")
GOOD = ENDINGS[:2]


@dataclass
class Child:
    """A process, the pipe it tells by, the inputs it still has, and when and at which CPU second it last spoke."""

    pid: int
    pipe: int
    waiting: deque
    spoke: float = field(default_factory=time.monotonic)
    spent: float = 0
    heard: bytes = field(default=b"")

    def hangs(self, seconds: float) -> bool:
        """Whether an input took its seconds; on a busy machine a process waits up to three times as long for a core."""
        silent = time.monotonic() - self.spoke
        return silent > 3 * seconds or (silent > seconds and cpu_seconds(self.pid) - self.spent > seconds / 2)


def cpu_seconds(pid: int) -> float:
    """Seconds that a process, and those of its own that have ended, computed."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # utime, stime, cutime, cstime


def memory_now() -> int:
    """Bytes of address space that this process takes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def start(batch: Sequence[Any], work: Callable[[Any], Ending], memory: int) -> Child:
    """Fork a process that works on `batch`."""
    receive, send = os.pipe()
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(send)
        return Child(pid, receive, deque(batch))
    try:
        os.setpgid(0, 0)  # what it starts ends with it
        limit = memory_now() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        for one in batch:
            os.write(send, json.dumps(work(one)).encode() + b"\n")
    finally:
        os._exit(0)


def ended(
    inputs: Sequence[Any], work: Callable[[Any], Ending], jobs: int, seconds: float, memory: int
) -> Iterator[tuple[Any, Ending]]:
    """(input, how it ended) of all inputs, in the order in which they end.

    Args:
        work: on an input, in a forked process.
        jobs: processes at once; seconds: for one input; memory: bytes of address space beyond what this process has.
    """
    batches = deque(inputs[k : k + BATCH] for k in range(0, len(inputs), BATCH))
    listen, alive = selectors.DefaultSelector(), {}
    try:
        while batches or alive:
            while batches and len(alive) < jobs:
                child = start(batches.popleft(), work, memory)
                listen.register(child.pipe, selectors.EVENT_READ)
                alive[child.pipe] = child
            spoken = {key.fd for key, _ in listen.select(0.2)}
            for child in list(alive.values()):
                silent = child.pipe not in spoken
                if silent and not child.hangs(seconds):
                    continue
                closed = False
                if not silent:
                    yield from hear(child)
                    closed = child.heard is None
                if silent or closed:
                    listen.unregister(child.pipe)
                    del alive[child.pipe]
                    end = bury(child, silent)
                    if child.waiting:
                        yield child.waiting.popleft(), end
                        if child.waiting:
                            batches.appendleft(list(child.waiting))
    finally:
        for child in alive.values():
            bury(child, True)


def hear(child: Child) -> Iterator[tuple[Any, Ending]]:
    """What a process has told; `heard` is None once it tells no more."""
    said = os.read(child.pipe, 1 << 16)
    *lines, rest = (child.heard + said).split(b"\n")
    if lines:
        child.spoke, child.spent = time.monotonic(), cpu_seconds(child.pid)
    for line in lines:
        yield child.waiting.popleft(), Ending(*json.loads(line))
    child.heard = rest if said else None


def bury(child: Child, hanging: bool) -> Ending:
    """End a process that hangs, and say how the input that it was at ended."""
    if hanging:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pipe)
    if hanging:
        return Ending("hang", "said nothing within its time")
    if os.WIFSIGNALED(status):
        return Ending("crash", signal.Signals(os.WTERMSIG(status)).name)
    return Ending("crash", f"ended with status {os.WEXITSTATUS(status)}")
