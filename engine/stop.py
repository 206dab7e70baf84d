"""Signals that ask a training to stop: the iteration ends, its state is written, the process leaves with a status.

A batch system sends SIGTERM, or SIGUSR1 some time before its limit; a person presses Ctrl-C (SIGINT).
"""

import atexit
import contextlib
import functools
import mmap
import multiprocessing.util  # noqa: F401  registers what ends the workers; what is registered below runs before it
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from torch.utils.data import get_worker_info

AGAIN = 75  # EX_TEMPFAIL of <sysexits.h>: unfinished, go on later with --resume
INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended: 128 + 2
OF_BATCH_SYSTEMS = (signal.SIGTERM, signal.SIGUSR1)
SIGNALS = (*OF_BATCH_SYSTEMS, signal.SIGINT)
# Ctrl-C reaches a launcher and its processes at once, and the launcher then sends SIGTERM: both are one wish.
ONE_WISH = 2.0  # seconds
ENDING = mmap.mmap(-1, 1)  # shared with forked workers: 1 once this process ends
atexit.register(ENDING.write_byte, 1)


class StopSignals:
    """While entered, the first signal is remembered in `wanted`, and the next, later than `ONE_WISH`, ends the process.

    Attributes:
        wanted: the number of the first signal, 0 before it.
    """

    def __init__(self) -> None:
        self.wanted = 0
        self.since = 0.0
        self.owner = 0
        self.before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        self.owner = os.getpid()
        if threading.current_thread() is threading.main_thread():  # elsewhere Python refuses handlers
            self.before = {number: signal.signal(number, self.handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; Python calls this between two instructions of the main thread."""
        if os.getpid() != self.owner:
            # A worker of the data loader: the iteration that is being finished may still need it.
            if number == signal.SIGTERM:
                end_by(number)
        elif not self.wanted:
            self.wanted, self.since = number, time.monotonic()
            say(f"{signal.Signals(number).name}: ending at the next iteration; a second signal ends at once")
        elif time.monotonic() - self.since > ONE_WISH:
            end_by(number)


@contextlib.contextmanager
def as_interrupt() -> Iterator[None]:
    """While entered, the first signal of a batch system raises KeyboardInterrupt(number), as Ctrl-C does without a
    number, so that the body can end what it has begun; the next one ends the process."""
    if threading.current_thread() is not threading.main_thread():  # elsewhere Python refuses handlers
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked child
            end_by(number)
        put_back()
        raise KeyboardInterrupt(number)

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    owner = os.getpid()
    before = {number: signal.signal(number, handle) for number in OF_BATCH_SYSTEMS}
    try:
        yield
    finally:
        put_back()


@functools.cache
def shield(process: int) -> None:
    """Have a worker of a data loader, by its number, outlive SIGTERM to its group; it ends with its loader, or with
    the process that made it.

    torch would raise in the middle of the iteration that is being finished when a worker dies.
    """
    if get_worker_info() is not None and process == os.getpid():
        signal.signal(signal.SIGTERM, end_with_parent)


def end_with_parent(number: int, frame: FrameType | None) -> None:
    """End a worker if the process that made it ends. Python sends SIGTERM then, and waits for persistent workers."""
    if ENDING[0]:
        os._exit(0)  # any other status would be torch's error in the parent


def say(line: str) -> None:
    """Write to standard error as a signal handler may: past Python's buffers, which may be in use."""
    os.write(2, f"{line}\n".encode())


def end_by(number: int) -> None:
    """End this process as the signal does where nobody handles it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def leave(number: int) -> NoReturn:
    """End with the exit status that says why, without a traceback."""
    raise SystemExit(INTERRUPTED if number == signal.SIGINT else AGAIN)
