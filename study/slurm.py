"""The cells of a study as jobs of a SLURM cluster, submitted at once, each after what it needs, and followed.

The shared folder is all that the machines have in common. `runs/slurm/` keeps submitit's files and the number of each
cell's job, so that the same command, given again, follows what is in the queue and submits only the rest.
"""

import importlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.errors import UserError
from engine.files import locked, write_json
from engine.names import did_you_mean
from engine.provenance import REPOSITORY
from engine.run_path import RUNS
from study.cells import Cell
from study.executors import DATA
from study.scheduler import FAILED, MISSED, OK, QUEUED, RUNNING, Job
from study.slurm_job import NOTICE, CellJob

NAME = "densebench"  # of all jobs
NOTICE_SECONDS = 90  # before the time limit, within which a training saves its state
SIGNAL = NOTICE.name.removeprefix("SIG")
RETURNS = 100  # times that a job whose time is up comes back
ABSENT = 2  # looks without a job in the queue, after which its files must have arrived


@dataclass(frozen=True)
class Resources:
    """What each job asks for; None: the cluster's default.

    Attributes:
        partition: to submit to.
        time: minutes; a run that takes longer is stopped, saved and put back into the queue.
        memory: GiB.
        gpus: 0 or 1: a run of a study is one process.
        cpus: cores.
        sbatch: further options of sbatch, by their long names.
    """

    partition: str | None = None
    time: int = 24 * 60
    memory: float | None = None
    gpus: int = 1
    cpus: int | None = None
    sbatch: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, stated: Mapping[str, Any], given: Mapping[str, Any]) -> "Resources":
        """What a study's file states, but where an option is given. UserError for a name that is none of ours."""
        known = [known.name for known in fields(cls)]
        for name in stated:
            if name not in known:
                raise UserError(f"the study's section cluster has {name!r}, which nothing reads"
                                f"{did_you_mean(name, known)}")  # fmt: skip
        return cls(**{**stated, **{name: value for name, value in given.items() if value is not None}})

    def parameters(self) -> dict[str, Any]:
        """The same in submitit's words."""
        chosen = {"slurm_partition": self.partition, "mem_gb": self.memory, "cpus_per_task": self.cpus,
                  "gpus_per_node": self.gpus or None}  # fmt: skip
        # SLURM rounds the notice up to a minute, so that of a very short job must not come at its beginning.
        notice = min(NOTICE_SECONDS, 60 * self.time // 4)
        setup = [f"export SUBMITIT_PREEMPT_SIGNAL={SIGNAL}",
                 f"export PYTHONPATH={shlex.quote(str(REPOSITORY))}${{PYTHONPATH:+:$PYTHONPATH}}"]  # fmt: skip
        return {
            **{name: value for name, value in chosen.items() if value is not None},
            "name": NAME,
            "timeout_min": self.time,
            "slurm_signal_delay_s": notice,
            "slurm_setup": setup,
        }


class Slurm:
    """Jobs of a SLURM cluster.

    Args:
        resources: of each job.
        words: of the command that makes these cells; with --cell FOLDER it runs one.
        jobs: runs at once; None: as many as the cluster lets.
        data_ready: whether the data that all cells share are there; otherwise a job of its own makes them first.
    """

    refresh = 15.0  # seconds between two looks at the queue
    patience = 60.0  # seconds after which a network's file system shows what another machine wrote

    def __init__(self, resources: Resources, words: list[str], jobs: int | None, data_ready: bool) -> None:
        self.resources, self.words, self.at_once, self.data_ready = resources, words, jobs, data_ready
        self.about = "as jobs of SLURM" + (f", {jobs} at once" if jobs else "")
        self.folder = (RUNS / "slurm").absolute()
        self.taken = self.away = False
        self.absent: Counter[str] = Counter()

    def begin(self, waiting: list[Cell]) -> list[Job]:
        """Submit all cells whose jobs are not in the queue yet."""
        if self.taken:
            return []
        self.taken = True
        with locked(self.folder / ".lock", "another command is submitting jobs: waiting for it"):
            ids = self.recall()
            before = len(ids)
            for folders, after in self.plan(waiting, ids):
                ids |= self.submit(folders, after)
                write_json(self.folder / "jobs.json", ids)
        print(f"{len(ids) - before} jobs submitted, {before} were in the queue before", flush=True)
        return [Job(cell, ids[str(cell.folder)]) for cell in waiting]

    def recall(self) -> dict[str, str]:
        """{folder of a cell: number of its job} of the jobs that are in the queue."""
        path, states = self.folder / "jobs.json", queue()
        try:
            known = json.loads(path.read_text()) if path.is_file() else {}
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}): delete it once squeue shows no job named {NAME}") from None
        return {folder: number for folder, number in known.items() if number in states}

    def plan(self, waiting: list[Cell], ids: dict[str, str]) -> Iterator[tuple[dict[str, list[str]], str]]:
        """The arrays to submit, in order: {folder: what its cell needs}, and what they wait for.

        Cells that wait for the same jobs are one array. SLURM limits how many run at once in each array alone, so with
        `jobs` each stage of the study is one, which waits for all before.

        Args:
            waiting: all unfinished cells.
            ids: the numbers of the jobs; grows while the plan is carried out.
        """
        makers = {cell.outcome: cell for cell in waiting}
        todo = [cell for cell in waiting if str(cell.folder) not in ids]
        if todo and not self.data_ready and DATA not in ids:
            yield {DATA: []}, ""
        for stage in stages(todo):
            before = dependency({"afterany": [number.split("_")[0] for number in ids.values()]}) if self.at_once else ""
            arrays: dict[str, dict[str, list[str]]] = {}
            for cell in stage:
                after = before or self.after(cell, makers, ids)
                arrays.setdefault(after, {})[str(cell.folder)] = [str(need) for need in cell.needs]
            for after, folders in arrays.items():
                yield folders, after

    @staticmethod
    def after(cell: Cell, makers: Mapping[Path, Cell], ids: Mapping[str, str]) -> str:
        """What a cell waits for: pretrainings must succeed; a trial that fails has a record, and the others decide."""
        made_by = [makers[need] for need in cell.needs if need in makers]
        must = [ids[str(maker.folder)] for maker in made_by if maker.task == "pretrain"]
        may = [ids[str(maker.folder)] for maker in made_by if maker.task != "pretrain"]
        return dependency({"afterok": [*must, *([ids[DATA]] if DATA in ids else [])], "afterany": may})

    def submit(self, folders: dict[str, list[str]], after: str) -> dict[str, str]:
        """Submit one array; returns the numbers of its jobs by folder."""
        submitit = submission_library()
        executor = submitit.AutoExecutor(self.folder, cluster="slurm", slurm_max_num_timeout=RETURNS)
        executor.update_parameters(
            **self.resources.parameters(),
            slurm_dependency=after or None,
            slurm_array_parallelism=self.at_once or len(folders),
            # A cell whose pretraining has failed leaves the queue.
            slurm_additional_parameters={"kill-on-invalid-dep": "yes", "requeue": True, **self.resources.sbatch},
        )
        jobs = [CellJob([*self.words, "--cell", folder], str(self.folder / DATA) if folder == DATA else folder,
                        needs, self.patience) for folder, needs in folders.items()]  # fmt: skip
        try:
            made = executor.submit_array(jobs)
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
            line = (str(error).strip().splitlines() or ["no reason"])[-1]
            raise UserError(f"sbatch refused: {line}; see --gpus, --memory, --time, --partition and --sbatch") from None
        return {folder: job.job_id for folder, job in zip(folders, made, strict=True)}

    def look(self, jobs: list[Job]) -> None:
        """Bring the jobs' states up to date from the queue, and from the files of those that have left it."""
        try:
            states = queue()
        except UserError as error:  # the cluster's controller is away for a while
            if not self.away:
                print(f"warning: {error}; trying again", flush=True)
            self.away = True
            return
        self.away = False
        for job in jobs:
            if job.handle in states:
                waits = states[job.handle] == "PENDING"
                job.state = QUEUED if waits else RUNNING
                self.absent[job.handle] = 0
            if job.handle not in states or job.state == RUNNING:
                job.since = job.since or time.monotonic()
            if job.handle not in states:
                self.absent[job.handle] += 1
                self.judge(job)

    def judge(self, job: Job) -> None:
        """Say how a job that has left the queue ended."""
        status = job.cell.status()
        if status == "open" and self.absent[job.handle] < ABSENT:
            return
        if status != "open":
            job.state = OK if status == "ok" else FAILED
        else:
            job.state = FAILED if all(need.is_file() for need in job.cell.needs) else MISSED

    def leave(self, jobs: list[Job]) -> None:
        """Leave the jobs in the queue."""
        if left := [job for job in jobs if not job.ended]:
            print(f"\n{len(left)} jobs go on; the same command follows them, scancel --me --name {NAME} ends them",
                  flush=True)  # fmt: skip


def stages(cells: list[Cell]) -> list[list[Cell]]:
    """Cells by the longest chain of those among them that they need; those come before them in `cells`."""
    depth: dict[Path, int] = {}
    for cell in cells:
        depth[cell.outcome] = 1 + max((depth[need] for need in cell.needs if need in depth), default=-1)
    return [[cell for cell in cells if depth[cell.outcome] == level] for level in sorted({*depth.values()})]


def dependency(after: Mapping[str, Iterable[str]]) -> str:
    """sbatch's words for {"afterok" or "afterany": numbers of jobs}; empty for none."""
    return ",".join(":".join([word, *dict.fromkeys(numbers)]) for word, numbers in after.items() if [*numbers])


def queue() -> dict[str, str]:
    """{number: state} of this study's jobs that have not ended.

    Raises:
        UserError: there is no SLURM here, or it does not answer.
    """
    if shutil.which("squeue") is None:
        raise UserError("--executor slurm: there is no squeue here; give the command on a machine of the cluster")
    words = ["squeue", "--me", "--noheader", "--array", "--name", NAME, "--format", "%i %T"]
    answer = subprocess.run(words, capture_output=True, text=True)
    if answer.returncode:
        raise UserError(f"squeue failed: {(answer.stderr.strip().splitlines() or ['no reason'])[-1]}")
    return dict(line.split() for line in answer.stdout.splitlines() if line.strip())


def submission_library() -> ModuleType:
    """submitit, told which signal is the notice. UserError where it is not installed."""
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = SIGNAL
    try:
        return importlib.import_module("submitit")
    except ImportError:
        raise UserError("--executor slurm needs submitit: pip install -r requirements-cluster.txt") from None
