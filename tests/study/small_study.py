"""A study with small budgets, as a command of its own: what `tools/study.py` is to a plan.

    python small_study.py OVERLAYS [options of study.executors]

OVERLAYS is a JSON file {config: data overlay}. On a cluster, each of the runs that TROUBLE names has it once: in its
third iteration SLURM sends it a signal.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import start  # isort: split

from study.executors import add_options, execute

SMALL = {"train_cfg.max_iters": 6, "train_dataloader.batch_size": 4, "progress_interval": 2, "state_interval": 6}
GRID = {"lr": (1e30, 1e-3), "layer_decay": (0.65,)}  # the first breaks training
CLEARED = 5.0  # seconds in which slurmd forgets a job; before, it refuses the same job's new credential
TROUBLE = {"pretrain mae seed 0": "USR1", "depth mae seed 0": "KILL"}


def shrink(overlays: dict[str, str]) -> None:
    """Let every configuration be small."""
    from study import cells, studies
    from study.configure import load_config

    def load(path, scale="tiny", options=None, **arguments):
        return load_config(path, scale, **{**arguments, "data": overlays[path]}, options={**SMALL, **(options or {})})

    cells.load_config = studies.load_config = load


def trouble() -> None:
    """Have SLURM send the signals of TROUBLE, once each."""
    from engine.loop import AddressedLoop

    run_iter = AddressedLoop.run_iter

    def troubled(loop, batches):
        signal = TROUBLE.get(loop.runner.cfg.run_name) if loop.runner.cfg.role == "final" else None
        mark = Path(loop.runner.work_dir, "had-trouble")
        if signal and loop.iter == 2 and "SLURM_JOB_ID" in os.environ and not mark.exists():
            mark.touch()
            if signal == "KILL":
                os.kill(os.getpid(), 9)  # as the kernel does where memory ends; scancel would send SIGTERM before
            # scancel is a process of the job, so that the signal may end it too.
            subprocess.run(["scancel", "--signal", signal, os.environ["SLURM_JOB_ID"]])
            until = time.monotonic() + 30
            while not loop.signals.wanted and time.monotonic() < until:
                time.sleep(0.01)
        run_iter(loop, batches)

    AddressedLoop.run_iter = troubled


def hasten() -> None:
    """SLURM lets a job that came back wait for two minutes; let it begin after some seconds, by which it is cleared."""
    from study.slurm import Slurm

    look, since = Slurm.look, {}

    def hastened(self, jobs):
        look(self, jobs)
        for job in jobs:
            if job.state != "queued" or not Path(job.cell.folder, "had-trouble").exists():
                since.pop(job.handle, None)
            elif time.monotonic() - since.setdefault(job.handle, time.monotonic()) > CLEARED:
                subprocess.run(["scontrol", "update", f"JobId={job.handle}", "StartTime=now"], capture_output=True)

    Slurm.look = hastened
    Slurm.refresh, Slurm.patience = 0.5, 1.0


def main(arguments: list[str]) -> int:
    """Run the study."""
    parser = start.parser_of(__doc__)
    parser.add_argument("overlays", type=Path)
    add_options(parser)
    args = parser.parse_args(arguments)
    start.mend()
    from study.studies import Study

    shrink(json.loads(args.overlays.read_text()))
    trouble()
    hasten()
    study = Study("tiny", ("mae",), ("depth",), (0,), GRID)
    return execute(study.cells(args.cell), args, "small", study.data_of)


if __name__ == "__main__":
    start.run(main)
