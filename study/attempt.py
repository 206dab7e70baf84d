"""One attempt at a cell: its run, and the record of why it failed."""

import contextlib
import gc
import time
from pathlib import Path

from engine.errors import UserError
from engine.run_folder import FolderInUse, occupied
from study.cells import Cell

WAIT = 1.0  # seconds between two looks at a folder that another process keeps


def attempt(cell: Cell) -> None:
    """Run a cell in this process; an unfinished run goes on where it stopped.

    Raises:
        Exception: whatever stopped the run, after the reason is in the cell's record.
    """
    from study.run import run, run_test

    gc.freeze()  # each of mmengine's data sets has the collector look through all that libraries made
    begin(cell.folder)
    try:
        (run_test if cell.of_images else run)(cell.config(), cell.command)
    except FolderInUse:
        raise  # the record there is for the process that is at work
    except Exception as error:  # whatever stops a cell must be in its record
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        with contextlib.suppress(UserError):
            record_failure(cell, f"{type(error).__name__}: {reason}")
        raise


def attempt_in_turn(cell: Cell) -> None:
    """Run a cell, once no other process is at it; nothing to do where that one has finished it. Errors as `attempt`."""
    told = False
    while cell.status() != "ok":
        try:
            with occupied(cell.folder):
                pass
            return attempt(cell)
        except FolderInUse as busy:
            if not told:
                print(f"{busy}; waiting for it", flush=True)
            told = True
            time.sleep(WAIT)
        except UserError:  # the other process may have finished it between the two looks
            if cell.status() != "ok":
                raise


def begin(folder: Path) -> None:
    """Make a cell's folder ready for a new attempt."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.json").unlink(missing_ok=True)  # of an earlier attempt


def record_failure(cell: Cell, reason: str) -> None:
    """Write a record that says why the cell failed; a failed pretraining leaves none, its cells stay open."""
    if cell.task == "pretrain":
        return
    from backbones import read_checkpoint
    from engine.catalogue import BASELINES
    from reports.records import write_record
    from study.baselines import meta_of
    from study.record import failed_record

    cfg = cell.config()
    meta = meta_of(cfg) if cfg.method in BASELINES else read_checkpoint(cfg.checkpoint)
    write_record(cell.folder, failed_record(cfg, meta, reason, cell.command))
