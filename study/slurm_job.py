"""What a job of the cluster does: run the command of one cell, and go back into the queue where a signal stopped it.

SLURM sends the signal to all processes of the job; the training saves its state and ends with a status of its own
(`engine/stop.py`). Nothing heavy is imported here: this process only waits.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.run_path import LOG

AGAIN = 75  # status of a command whose state is saved; engine.stop says so too, but needs torch
# Sent before the time limit, and with notice of preemption. SIGTERM alone is no reason to come back: SLURM itself puts
# a preempted job into the queue, and who cancels one means it.
NOTICE = signal.SIGUSR1


class CellJob:
    """One cell's command, as submitit calls it.

    Args:
        words: behind the interpreter's name.
        folder: of the cell, for its log.
        needs: files that must be there.
        patience: seconds until a file that another machine wrote must be seen here.
    """

    def __init__(self, words: list[str], folder: str, needs: list[str], patience: float) -> None:
        self.words, self.folder, self.needs, self.patience = words, folder, needs, patience

    def __call__(self) -> None:
        """Run the command, its output in the cell's log; the job's status is its own."""
        put_back, noted = signal.getsignal(NOTICE), []
        signal.signal(NOTICE, lambda number, frame: noted.append(number))
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        Path(self.folder, "progress.json").unlink(missing_ok=True)  # of an earlier attempt
        with open(Path(self.folder, LOG), "a") as log:
            if lacking := self.lacking():
                print(f"{lacking} is not there: the run that makes it has failed", file=log)
                sys.exit(1)
            command = [sys.executable, *self.words]
            status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
        signal.signal(NOTICE, put_back)
        if noted and status in (AGAIN, -NOTICE):
            signal.raise_signal(NOTICE)  # submitit puts the job back into the queue and ends this process
        sys.exit(status)

    def lacking(self) -> str | None:
        """The first file that does not turn up."""
        until = time.monotonic() + self.patience
        for need in self.needs:
            while not Path(need).is_file():
                if time.monotonic() > until:
                    return need
                time.sleep(min(1.0, self.patience))
        return None

    def checkpoint(self) -> Any:
        """What submitit runs when the job comes back."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
