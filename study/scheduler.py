"""Run the cells of a study by an executor, show what they do, and say which failed."""

import os
import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import UserError
from engine.files import read_object
from engine.progress import duration
from engine.run_path import LOG
from engine.stop import as_interrupt
from reports.records import read_record
from study.cells import Cell
from study.times import Kind, Spent, where_the_time_went

GUESS = {True: 300.0, False: 45.0}  # seconds of a pretraining and of a fine-tuning, before any was seen
QUIET = 15.0  # seconds between two status lines where the output is not a terminal
QUEUED, RUNNING, OK, FAILED = "queued", "running", "ok", "failed"
MISSED = "missed"  # ended before it began: what it needs has failed


@dataclass(eq=False)
class Job:
    """A cell that an executor has taken.

    Attributes:
        handle: the executor's own: a process, the number of a cluster's job.
        state: QUEUED, RUNNING, or how it ended: OK, FAILED, MISSED.
        since: when it was first seen to run, by `time.monotonic`.
        processor: seconds of processors that it took, once it has ended, where the executor knows.
    """

    cell: Cell
    handle: Any
    state: str = QUEUED
    since: float = 0.0
    processor: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state not in (QUEUED, RUNNING)


class Executor(Protocol):
    """Where cells run.

    Attributes:
        refresh: seconds between two looks.
        at_once: how many run at once; None where a queue decides.
        about: how many run at once, and where, in words.
    """

    refresh: float
    at_once: int | None
    about: str

    def begin(self, waiting: list[Cell]) -> list[Job]:
        """Take those of the waiting cells that can be taken now; none, with no job left, means that none ever can."""

    def look(self, jobs: list[Job]) -> None:
        """Bring the states of jobs that have not ended up to date."""

    def leave(self, jobs: list[Job]) -> None:
        """Told at the end, with the jobs that have not ended where the study was interrupted."""


class Scheduler:
    """Hand cells to an executor, in order, and follow them to their end."""

    def __init__(self, cells: list[Cell], executor: Executor) -> None:
        self.cells, self.executor = cells, executor
        self.total = len(cells)
        self.waiting: list[Cell] = []
        self.jobs: list[Job] = []  # taken by the executor and not ended
        self.spent: dict[Kind, list[Spent]] = {}  # kind of cell -> what those seen took
        self.failed: list[Cell] = []
        self.said = 0.0

    def run(self) -> int:
        """Run all cells; 0 when all finished, 1 when some failed."""
        self.waiting = unfinished(self.cells)
        done = self.total - len(self.waiting)
        if done:
            self.say(f"{done} of {self.total} runs are already finished")
        self.loop()
        self.say(where_the_time_went(self.spent))
        for cell in self.failed:
            print(f"failed: {cell.name}; see {cell.folder}/{LOG}", flush=True)
        return 1 if self.failed else 0

    def loop(self) -> None:
        """Start, watch and reap until nothing is left, or a signal asks to stop."""
        try:
            with as_interrupt():
                while self.waiting or self.jobs:
                    begun = self.executor.begin(self.waiting)
                    taken = {id(job.cell) for job in begun}
                    self.waiting = [cell for cell in self.waiting if id(cell) not in taken]
                    self.jobs += begun
                    if not self.jobs:  # what is left needs a run that failed: it is reported, and tried again next time
                        self.failed += self.waiting
                        self.waiting = []
                        break
                    time.sleep(self.executor.refresh)
                    self.executor.look(self.jobs)
                    self.reap()
                    self.show()
        finally:
            self.executor.leave(self.jobs)

    def reap(self) -> None:
        """Say how jobs ended, and let go of them."""
        for job in [job for job in self.jobs if job.ended]:
            self.jobs.remove(job)
            cell, took = job.cell, time.monotonic() - job.since
            if job.state == OK:
                self.spent.setdefault(self.kind(cell), []).append(Spent(took, job.processor))
                self.say(f"{cell.name}: done in {duration(took)}{summary(cell)}")
                continue
            self.failed.append(cell)
            if job.state == FAILED:
                self.say(f"{cell.name}: FAILED after {duration(took)}; see {cell.folder}/{LOG}")

    @staticmethod
    def kind(cell: Cell) -> Kind:
        """Cells of one kind take about equally long: (pretraining, method or task, trial)."""
        pretraining = cell.task == "pretrain"
        return pretraining, cell.method if pretraining else cell.task, cell.point is not None

    def expected(self, cell: Cell) -> float:
        """Seconds a cell will probably take: as cells of its kind did, else as cells of its stage do, else a guess."""
        kind = self.kind(cell)
        seen = self.clock.get(kind)
        if not seen:
            stage = {**self.clock, **self.projected()}
            # Random initialisation is done at once and tells nothing of the other methods.
            seen = [s for other, times in stage.items() if other[0] == kind[0] and other[1] != "random" for s in times]
        return sum(seen) / len(seen) if seen else GUESS[kind[0]]

    @property
    def running(self) -> list[Job]:
        """The jobs that run now."""
        return [job for job in self.jobs if job.state == RUNNING]

    @property
    def clock(self) -> dict[Kind, list[float]]:
        """Kind of cell -> seconds of the clock that those seen took."""
        return {kind: [one.clock for one in some] for kind, some in self.spent.items()}

    def projected(self) -> dict[Kind, list[float]]:
        """Whole durations of the running cells, as far as they know their own time left."""
        now = time.monotonic()
        states = [(job, progress(job.cell)) for job in self.running]
        return {self.kind(job.cell): [now - job.since + state["eta_s"]] for job, state in states if state}

    def show(self) -> None:
        """One status line: how many are done, what runs, with its loss, and the time left."""
        running = self.running
        waiting = self.waiting + [job.cell for job in self.jobs if job.state == QUEUED]
        parts, left = [], sum(self.expected(cell) for cell in waiting)
        for job in running:
            cell, state, elapsed = job.cell, progress(job.cell), time.monotonic() - job.since
            if state:
                left += state["eta_s"]
                parts.append(f"{cell.name} {state['iteration']}/{state['max_iters']} loss {state['loss']:.3f}")
            else:
                left += max(0.0, self.expected(cell) - elapsed)
                parts.append(f"{cell.name} starting")
        done = self.total - len(waiting) - len(running)
        at_once = self.executor.at_once or max(1, len(running))
        line = f"[{done}/{self.total} done, ETA {duration(left / at_once)}] " + (" | ".join(parts) or "in the queue")
        if sys.stdout.isatty():
            columns = os.get_terminal_size().columns
            print(f"\r\x1b[2K{line[: columns - 1]}", end="", flush=True)
        elif time.monotonic() - self.said > QUIET:
            self.say(line)

    def clear(self) -> None:
        """Remove the status line of a terminal."""
        if sys.stdout.isatty():
            print("\r\x1b[2K", end="", flush=True)

    def say(self, line: str) -> None:
        """Print what stays; nothing where there is nothing."""
        self.clear()
        print(line, end="\n" if line else "", flush=True)
        self.said = time.monotonic()


def unfinished(cells: list[Cell]) -> list[Cell]:
    """The cells that are to be run; a failed one is tried again, so that its record goes."""
    found = []
    for cell in cells:
        if cell.status() == "failed":
            cell.outcome.unlink()
        if cell.status() == "open":
            found.append(cell)
    return found


def progress(cell: Cell) -> dict | None:
    """What the cell's ProgressHook last wrote, if this attempt has written anything."""
    try:
        return read_object(cell.folder / "progress.json", "", iteration=int, max_iters=int, loss=float, eta_s=float)
    except UserError:
        return None


def summary(cell: Cell) -> str:
    """The finished cell's primary metric."""
    if cell.task == "pretrain":
        return ""
    metrics = read_record(cell.outcome)["metrics"]
    return "".join(f", {name} {m['value']:.4g} {m['unit']}" for name, m in metrics.items() if m["primary"])
