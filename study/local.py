"""The cells of a study in processes of this machine, several at a time, each on one GPU where there are any."""

import contextlib
import importlib
import multiprocessing
import os
import time
import traceback
from multiprocessing.sharedctypes import Synchronized

from engine.distributed import die_with_parent
from engine.run_path import LOG
from study.attempt import attempt_in_turn
from study.cells import Cell
from study.scheduler import FAILED, OK, RUNNING, Job


def run_cell(cell: Cell, gpu: str | None = None, spent: Synchronized | None = None) -> None:
    """Body of a child process: one run, its output in `log.txt` of its folder, status 0 or 1.

    Args:
        cell: what to run.
        gpu: the one GPU that the run sees, as CUDA_VISIBLE_DEVICES names it; None where there is none.
        spent: takes the seconds of processors that this process and those it started took.
    """
    die_with_parent()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    cell.folder.mkdir(parents=True, exist_ok=True)
    with open(cell.folder / LOG, "a", buffering=1) as log, contextlib.redirect_stdout(log):
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            attempt_in_turn(cell)
        except Exception:  # what stops a cell must not stop the study
            traceback.print_exc(file=log)
            os._exit(1)
    if spent is not None:
        spent.value = sum(os.times()[:4])
    os._exit(0)


def import_everything() -> None:
    """Load every library a run may need, once: forked children share them and start at once."""
    for name in ("mmdet.models", "mmseg.models", "datasets.detection", "datasets.segmentation", "depth", "pretrain",
                 "probes.linear_depth", "recognition.finetune", "recognition.retrieval", "recognition.zero_shot",
                 "study.run"):  # fmt: skip
        importlib.import_module(name)


def visible_gpus() -> list[str]:
    """The GPUs that torch sees, as CUDA_VISIBLE_DEVICES names them. Starts no CUDA, which children could not share."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(k) for k in range(count)] if named is None else [part.strip() for part in named.split(",")][:count]


class Local:
    """Forked processes of this machine.

    Args:
        jobs: runs at once; None: one for each core, or as many as the GPUs take.
        jobs_per_gpu: runs that share one GPU. More never run at once, whatever `jobs` says.
        gpus: their names; None: those that torch sees.
    """

    refresh = 0.2  # seconds between two looks at the running cells: a place is empty for half of that

    def __init__(self, jobs: int | None = None, jobs_per_gpu: int = 1, gpus: list[str] | None = None) -> None:
        gpus = visible_gpus() if gpus is None else gpus
        places = gpus * jobs_per_gpu or [None] * (os.cpu_count() or 1 if jobs is None else max(1, jobs))
        self.free: list[str | None] = places if jobs is None else places[: max(1, jobs)]
        self.at_once = len(self.free)
        self.about = f"{self.at_once} at once" + (f" on {len(gpus)} GPU{'s' * (len(gpus) > 1)}" if gpus else "")

    def begin(self, waiting: list[Cell]) -> list[Job]:
        """Start the first of the cells whose needs are there, where there is a place."""
        ready = [cell for cell in waiting if all(path.is_file() for path in cell.needs)]
        if not ready or not self.free:
            return []
        import_everything()
        fork = multiprocessing.get_context("fork")  # a child starts at once, with every library already loaded
        begun = []
        for cell in ready[: len(self.free)]:
            gpu = self.free.pop(0)
            # Not a daemon: it may start loader workers.
            spent = fork.Value("d", 0.0)
            process = fork.Process(target=run_cell, args=(cell, gpu, spent))
            process.start()
            begun.append(Job(cell, (process, gpu, spent), RUNNING, time.monotonic()))
        return begun

    def look(self, jobs: list[Job]) -> None:
        """Bring the jobs' states up to date."""
        for job in jobs:
            process, gpu, spent = job.handle
            if not process.is_alive():
                job.state, job.processor = OK if process.exitcode == 0 else FAILED, spent.value
                self.free.append(gpu)

    def leave(self, jobs: list[Job]) -> None:
        """End the processes that still run, each after it has saved its state: nobody would watch them. Python waits
        for them before it ends this one."""
        for process in multiprocessing.active_children():  # one that a signal kept from becoming a job is among them
            process.terminate()
