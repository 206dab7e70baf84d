"""Run the cells of a study in parallel processes, show what they do, and leave a record of those that fail."""

import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import time
import traceback

from engine.distributed import die_with_parent
from engine.errors import UserError
from engine.progress import duration
from reports.records import read_record
from study.cells import Cell

REFRESH = 1.0  # seconds between two looks at the running cells
GUESS = {True: 300.0, False: 45.0}  # seconds of a pretraining and of a fine-tuning, before any was seen
QUIET = 15.0  # seconds between two status lines where the output is not a terminal


def run_cell(cell: Cell) -> None:
    """Body of a child process: one run, its output in `log.txt` of its folder, status 0 or 1."""
    die_with_parent()
    cell.folder.mkdir(parents=True, exist_ok=True)
    (cell.folder / "progress.json").unlink(missing_ok=True)  # of an earlier attempt
    with open(cell.folder / "log.txt", "a", buffering=1) as log, contextlib.redirect_stdout(log):
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        from study.run import run, run_test

        try:
            (run_test if cell.of_images else run)(cell.config(), cell.command)
        except Exception as error:  # whatever stops a cell must not stop the study, and must be in its record
            traceback.print_exc(file=log)
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            with contextlib.suppress(UserError):
                record_failure(cell, f"{type(error).__name__}: {reason}")
            os._exit(1)
    os._exit(0)


def record_failure(cell: Cell, reason: str) -> None:
    """Write a record that says why the cell failed; a failed pretraining leaves none, its cells stay open."""
    if cell.task == "pretrain":
        return
    from backbones import read_checkpoint
    from reports.records import write_record
    from study.record import failed_record

    cfg = cell.config()
    write_record(cell.folder, failed_record(cfg, read_checkpoint(cfg.checkpoint), reason, cell.command))


def import_everything() -> None:
    """Load every library a run may need, once: forked children share them and start at once."""
    for name in ("mmdet.models", "mmseg.models", "datasets.detection", "datasets.segmentation", "depth", "pretrain",
                 "recognition.finetune", "recognition.retrieval", "recognition.zero_shot", "study.run"):  # fmt: skip
        importlib.import_module(name)


class Scheduler:
    """Start cells in order as soon as what they need is there, `jobs` at a time."""

    def __init__(self, cells: list[Cell], jobs: int) -> None:
        self.cells, self.jobs = cells, max(1, jobs)
        self.total = len(cells)
        self.waiting: list[Cell] = []
        self.running: dict[multiprocessing.Process, tuple[Cell, float]] = {}
        self.seconds: dict[str, list[float]] = {}  # kind of cell -> durations seen
        self.failed: list[Cell] = []
        self.said = 0.0

    def run(self) -> int:
        """Run all cells; 0 when all finished, 1 when some failed."""
        for cell in self.cells:
            if cell.status() == "failed":
                cell.outcome.unlink()  # tried again
            if cell.status() == "open":
                self.waiting.append(cell)
        done = self.total - len(self.waiting)
        if done:
            self.say(f"{done} of {self.total} runs are already finished")
        if self.waiting:
            import_everything()
            self.loop()
        self.clear()
        for cell in self.failed:
            print(f"failed: {cell.name}; see {cell.folder}/log.txt", flush=True)
        return 1 if self.failed else 0

    def loop(self) -> None:
        """Start, watch and reap until nothing is left."""
        fork = multiprocessing.get_context("fork")  # a child starts at once, with every library already loaded
        try:
            while self.waiting or self.running:
                self.drop_hopeless()
                for cell in self.ready()[: self.jobs - len(self.running)]:
                    self.waiting.remove(cell)
                    process = fork.Process(target=run_cell, args=(cell,))  # not a daemon: it may start loader workers
                    process.start()
                    self.running[process] = (cell, time.monotonic())
                time.sleep(REFRESH)
                self.reap()
                self.show()
        finally:
            for process in self.running:
                process.terminate()

    def ready(self) -> list[Cell]:
        """Waiting cells whose needs are met."""
        return [cell for cell in self.waiting if all(path.is_file() for path in cell.needs)]

    def drop_hopeless(self) -> None:
        """Give up cells that need a run which failed: they are reported, and tried again next time."""
        if self.running or self.ready():
            return
        self.failed += self.waiting
        self.waiting = []

    def reap(self) -> None:
        """Collect finished processes."""
        for process in [p for p in self.running if not p.is_alive()]:
            cell, started = self.running.pop(process)
            took = time.monotonic() - started
            if process.exitcode == 0:
                self.seconds.setdefault(self.kind(cell), []).append(took)
                self.say(f"{cell.name}: done in {duration(took)}{summary(cell)}")
            else:
                self.failed.append(cell)
                self.say(f"{cell.name}: FAILED after {duration(took)}; see {cell.folder}/log.txt")

    @staticmethod
    def kind(cell: Cell) -> tuple[bool, str, bool]:
        """Cells of one kind take about equally long: (pretraining, method or task, trial)."""
        pretraining = cell.task == "pretrain"
        return pretraining, cell.method if pretraining else cell.task, cell.point is not None

    def expected(self, cell: Cell) -> float:
        """Seconds a cell will probably take: as cells of its kind did, else as cells of its stage do, else a guess."""
        kind = self.kind(cell)
        seen = self.seconds.get(kind)
        if not seen:
            stage = {**self.seconds, **self.projected()}
            # Random initialisation is done at once and tells nothing of the other methods.
            seen = [s for other, times in stage.items() if other[0] == kind[0] and other[1] != "random" for s in times]
        return sum(seen) / len(seen) if seen else GUESS[kind[0]]

    def projected(self) -> dict[tuple[bool, str, bool], list[float]]:
        """Whole durations of the running cells, as far as they know their own time left."""
        now = time.monotonic()
        states = [(cell, started, progress(cell)) for cell, started in self.running.values()]
        return {self.kind(cell): [now - started + state["eta_s"]] for cell, started, state in states if state}

    def show(self) -> None:
        """One status line: how many are done, what runs, with its loss, and the time left."""
        parts, left = [], sum(self.expected(cell) for cell in self.waiting)
        for cell, started in self.running.values():
            state = progress(cell)
            elapsed = time.monotonic() - started
            if state:
                left += state["eta_s"]
                parts.append(f"{cell.name} {state['iteration']}/{state['max_iters']} loss {state['loss']:.3f}")
            else:
                left += max(0.0, self.expected(cell) - elapsed)
                parts.append(f"{cell.name} starting")
        done = self.total - len(self.waiting) - len(self.running)
        line = f"[{done}/{self.total} done, ETA {duration(left / self.jobs)}] " + " | ".join(parts)
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
        """Print a line that stays."""
        self.clear()
        print(line, flush=True)
        self.said = time.monotonic()


def progress(cell: Cell) -> dict | None:
    """What the cell's ProgressHook last wrote, if this attempt has written anything."""
    try:
        return json.loads((cell.folder / "progress.json").read_text())
    except (OSError, json.JSONDecodeError):
        return None


def summary(cell: Cell) -> str:
    """The finished cell's primary metric."""
    if cell.task == "pretrain":
        return ""
    metrics = read_record(cell.outcome)["metrics"]
    return "".join(f", {name} {m['value']:.4g} {m['unit']}" for name, m in metrics.items() if m["primary"])
